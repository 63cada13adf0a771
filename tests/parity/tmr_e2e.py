"""Parity of TMR's programs on a toy data set: splits, items, retrieval, latents, and motion-to-motion search."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.evaluators.tmr import TMREvaluator
from hmu.evaluators.tmr.authors import from_authors, load_parts
from hmu.evaluators.tmr.tables import stored_array, stored_index, token_table
from hmu.metrics.motion_search import Gallery, search
from hmu.text.base import TextEncoder
from hmu.text.precomputed import PrecomputedTextEncoder
from tests.parity.case import Case, read_arrays, read_json
from tests.parity.checks import Checks, compare, exact, unchecked
from tests.parity.guo import F32, nearest_file
from tests.parity.kinds import compares
from tests.parity.tmr_metrics import guo_blocks, scores_checks

SHORTEST, LONGEST = 2.0, 10.0  # seconds
SENTENCES = "sentence-transformers/all-mpnet-base-v2"


def load(run: Path, text: TextEncoder | None = None) -> TMREvaluator:
    """The case's evaluator as the authors compute: bare latents, published averages."""
    width = int(load_parts(run)["text_encoder"]["projection.weight"].shape[1])
    given = PrecomputedTextEncoder({"": torch.zeros(1, width)}) if text is None else text
    return from_authors(run, text=given, unit=False, variant="upstream")


# -- the authors' annotation files -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Segment:
    """A caption and the part of the clip it describes, in seconds."""

    text: str
    start: float
    end: float

    def frames(self, fps: float) -> slice:
        """The described frames (both ends cut to whole frames, as published)."""
        return slice(int(self.start * fps), int(self.end * fps))


@dataclass(frozen=True)
class Clip:
    """One clip: feature file (without ending, relative to the motion folder), seconds, captions."""

    path: str
    duration: float
    segments: tuple[Segment, ...]

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Clip:
        """From an entry of ``annotations.json``."""
        segments = (Segment(a["text"], float(a["start"]), float(a["end"])) for a in item["annotations"])
        return cls(item["path"], float(item["duration"]), tuple(segments))


def sentence_table(folder: Path) -> PrecomputedTextEncoder:
    """Sentence embeddings of exactly the stored texts, as ``pooled``."""
    stem = folder / "sent_embeddings" / SENTENCES
    table, index = torch.from_numpy(stored_array(f"{stem}.npy")), stored_index(f"{stem}_index.json")
    rows = {text: table[row] for text, row in index.items()}
    return PrecomputedTextEncoder({text: row[None] for text, row in rows.items()}, rows)


class World:
    """The toy data set of a case, its evaluator, and motions by the documented formula."""

    def __init__(self, case: Path) -> None:
        self.folder = nearest_file(case / "datasets", "annotations.json").parent
        stored = read_json(self.folder / "annotations.json")
        self.annotations = {key: Clip.read(item) for key, item in stored.items()}
        self.evaluator = load(case / "run_dir", text=token_table(self.folder, "distilbert-base-uncased"))
        self.sentences = sentence_table(self.folder)
        self.fps = float(read_json(case / "run_dir" / "config.json")["data"]["motion_loader"]["fps"])

    def motion(self, path: str, frames: int) -> Tensor:
        """Features in real units ``(frames, features)`` of a file that is not stored."""
        random = np.random.RandomState(int(hashlib.md5(path.encode()).hexdigest()[:6], 16))
        width = self.evaluator.features
        strength, speed, phase = random.randn(6, width) * 0.6, random.rand(6) * 0.35 + 0.02, random.rand(6) * 6.28
        waves = np.sin(np.arange(frames)[:, None] * speed + phase) @ strength
        mean, std = (x.double().numpy() for x in (self.evaluator.mean, self.evaluator.std))
        return torch.from_numpy((mean + std * waves).astype(np.float32))

    def clip(self, clip: Clip, segment: Segment | None = None) -> Tensor:
        """The described frames of a clip, or all of them."""
        whole = self.motion(clip.path, int(clip.duration * self.fps) + 1)
        return whole if segment is None else whole[segment.frames(self.fps)]

    def embed(self, motions: Sequence[Tensor]) -> Tensor:
        """Latents of motions of any lengths ``(motions, width)``."""
        lengths = torch.tensor([len(motion) for motion in motions])
        return self.evaluator.embed_motion(torch.nn.utils.rnn.pad_sequence(list(motions), batch_first=True), lengths)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Latents of stored texts."""
        return self.evaluator.embed_tokens(self.evaluator.read(texts))

    def split(self, name: str) -> list[str]:
        """The ids of a split, as listed."""
        lines = (self.folder / "splits" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def segments(self, split: str) -> dict[str, tuple[Segment, ...]]:
        """What the published data set holds of a split: ids with an annotation, and their captions of 2 to 10 seconds.

        Splits whose name contains ``test`` are not filtered by duration.
        """
        known = {key: self.annotations[key].segments for key in self.split(split) if key in self.annotations}
        if "test" not in split:
            known = {k: tuple(s for s in rows if SHORTEST <= s.end - s.start <= LONGEST) for k, rows in known.items()}
        return {key: segments for key, segments in known.items() if segments}

    def firsts(self, split: str) -> tuple[dict[str, Segment], Tensor]:
        """The first usable caption of every clip of a split, and latents of the frames that it describes."""
        segments = {key: usable[0] for key, usable in self.segments(split).items()}
        return segments, self.embed([self.clip(self.annotations[key], part) for key, part in segments.items()])

    def gallery(self) -> Gallery:
        """Latents of the split ``all``: cut to the first remaining caption, described by the very first."""
        segments, latents = self.firsts("all")
        return Gallery(tuple(segments), tuple(self.annotations[key].segments[0].text for key in segments), latents)


def end_to_end(case: Path) -> Checks:
    """Every program's result."""
    world = World(case)
    recorded, arrays = read_json(case / "end_to_end.json"), read_arrays(case / "end_to_end.npz")
    lengths = {key: len(clip.segments) for key, clip in world.annotations.items()}
    yield exact("annotations", lengths, recorded["annotation_lengths"])
    for split, ids in recorded["split_files"].items():
        yield exact(f"split {split}", world.split(split), ids)
    for split, ids in recorded["keyids"].items():
        yield exact(f"usable of {split}", list(world.segments(split)), ids)
    if (case / "items.json").is_file():
        yield from _items(world, read_json(case / "items.json"))
    else:
        yield unchecked("items", "no items.json")
    yield from _retrieval(world, recorded, arrays)
    gallery = world.gallery()
    yield exact("latents_keyids_index", {k: i for i, k in enumerate(gallery.ids)}, recorded["latents_keyids_index"])
    yield compare("all_latents", gallery.latents, arrays["all_latents"], F32)
    yield compare("all_unit_latents", F.normalize(gallery.latents, dim=-1), arrays["all_unit_latents"], F32)
    yield from _commands(world, recorded["cli"], arrays)


def _items(world: World, recorded: Mapping[str, Any]) -> Checks:
    mean, std = world.evaluator.mean, world.evaluator.std
    for key, item in recorded.items():
        split = next(s for s in ("test", "val", "train") if key in world.split(s))
        segment = world.segments(split)[key][0]
        motion = (world.clip(world.annotations[key], segment) - mean) / std
        ours = (segment.text, len(motion), world.evaluator.read([segment.text]).tokens.shape[1])
        yield exact(f"item {key}", ours, (item["text"], item["length"], item["text_tokens"]))
        yield compare(f"item {key} first", motion[0, : len(item["motion_first5"])], item["motion_first5"], F32)
        yield compare(f"item {key} last", motion[-1, -len(item["motion_last5"]) :], item["motion_last5"], F32)


def _similarity(world: World, split: str) -> tuple[list[str], Tensor, Tensor]:
    """Ids, cosines ``(texts, motions)`` and unit sentence embeddings of a split."""
    segments, motions = world.firsts(split)
    texts = [segment.text for segment in segments.values()]
    text, motion = (F.normalize(x, dim=-1) for x in (world.texts(texts), motions))
    sentences = world.sentences.encode(texts).pooled
    assert sentences is not None
    return list(segments), text @ motion.mT, sentences


def _retrieval(world: World, recorded: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Checks:
    ids, similarity, sentences = _similarity(world, "test")
    yield compare("test_sim_matrix", similarity, arrays["test_sim_matrix"], F32)
    yield compare("test_sent_emb", sentences, arrays["test_sent_emb"], F32)
    yield compare("nsim_sim_matrix", _similarity(world, "nsim_test")[1], arrays["nsim_sim_matrix"], F32)
    # the authors' matrices: exact ties and neighbours in the last digit decide ranks
    whole, nsim = (torch.from_numpy(arrays[n]) for n in ("test_sim_matrix", "nsim_sim_matrix"))
    for name, expected in recorded["metrics_files"].items():
        label = f"{name}.yaml"
        if name == "nsim":
            yield from scores_checks(label, [nsim], expected)
        elif name == "guo":
            order = torch.tensor(sorted(range(len(ids)), key=lambda i: ids[i]))
            blocks = [order[torch.from_numpy(b)] for b in guo_blocks(len(ids))]
            yield from scores_checks(label, [whole[b][:, b] for b in blocks], expected)
        elif name == "normal":
            yield from scores_checks(label, [whole], expected)
        elif name.startswith("threshold_"):
            yield from scores_checks(label, [whole], expected, sentences, float(name.removeprefix("threshold_")))
        else:
            yield unchecked(f"protocol {name}", "unknown")


def _commands(world: World, cli: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Checks:
    path = cli["motion"].removesuffix(".npy")
    clip = next(clip for clip in world.annotations.values() if path.endswith(f"/{clip.path}"))
    motion, text = world.embed([world.clip(clip)])[0], world.texts([cli["text"]])[0]
    for name in (n for n in arrays if n.startswith("cli_encoded/")):
        yield compare(name, motion if Path(cli["motion"]).name in name else text, arrays[name], F32)
    score = float(F.cosine_similarity(motion, text, dim=0)) / 2 + 0.5
    for printed in cli["similarity_line"]:
        yield compare("printed similarity", round(score, len(printed.partition(".")[2])), float(printed), 1e-6)


@compares("hmu_m2m")
def motion_search(case: Case) -> Checks:
    """Generated motions against the authors' latents of two galleries, by the evaluator of the neighbouring case."""
    recorded = read_json(case.folder / "expected.json")
    world = World((case.folder / recorded["run_dir"]).resolve().parent)
    whole = world.gallery()
    for run in recorded["expected"]:
        name, records = run["gallery"], run["records"]
        places = [whole.ids.index(key) for key in run["keyids"]]
        gallery = Gallery(tuple(run["keyids"]), tuple(whole.descriptions[i] for i in places), whole.latents[places])
        latents = world.embed([world.motion(record["motion_formula_key"], record["length"]) for record in records])
        hits = search(latents, gallery, recorded["top_k"])
        if name == "all":
            yield exact("gallery all", list(whole.ids), run["keyids"])
            yield from case.given({"query_latents": latents, "cosine": gallery.nearness(latents)}, F32)
        rows = np.array([[hit.row for hit in row] for row in hits])
        index = f"topk_index_into_gallery_{name}"
        yield exact(f"top {recorded['top_k']} of {name}", rows, case.raw(index) if index in case else None)
        for number, (row, record) in enumerate(zip(hits, records, strict=True)):
            yield from _hits(f"{name}/{number}", (hit.to_json() for hit in row), record["retrieval"])


def _hits(name: str, hits: Iterable[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> Checks:
    ours, keys = list(hits), ("keyid", "description")
    yield exact(f"{name} retrieval", [[h[k] for k in keys] for h in ours], [[h[k] for k in keys] for h in expected])
    for key in ("cosine", "score"):
        yield compare(f"{name} {key}", [h[key] for h in ours], [h[key] for h in expected], F32)
