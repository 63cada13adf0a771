"""Parity of TMR's programs on a toy data set: splits, items, retrieval, latents, and motion-to-motion search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.evaluators.tmr import TMREvaluator
from hmu.evaluators.tmr.tables import token_table
from hmu.metrics.motion_search import Gallery, search
from tests.parity.case import read_arrays, read_json, strange
from tests.parity.checks import Check, compare, exact, unchecked
from tests.parity.guo import F32, nearest_file
from tests.parity.tmr_annotations import Clip, Segment, read_annotations, read_split, sentence_table, usable
from tests.parity.tmr_metrics import guo_blocks, rounded, scores_checks, tied

Loader = Callable[..., TMREvaluator]


class World:
    """The toy data set of a case, its evaluator, and motions by the documented formula."""

    def __init__(self, case: Path, load: Loader) -> None:
        self.case = case
        self.folder = nearest_file(case / "datasets", "annotations.json").parent
        self.annotations = read_annotations(self.folder)
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
        padded = torch.nn.utils.rnn.pad_sequence(list(motions), batch_first=True)
        return self.evaluator.embed_motion(padded, lengths)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Latents of stored texts."""
        return self.evaluator.embed_tokens(self.evaluator.read(texts))

    def segments(self, split: str) -> dict[str, tuple[Segment, ...]]:
        """What the data set holds of a split."""
        return usable(self.annotations, read_split(self.folder, split), split)


def end_to_end(case: Path, load: Loader) -> Iterator[Check]:
    """Every program's result."""
    world = World(case, load)
    told, arrays = read_json(case / "end_to_end.json"), read_arrays(case / "end_to_end.npz")
    lengths = {key: len(clip.segments) for key, clip in world.annotations.items()}
    yield exact("annotations", lengths, told["annotation_lengths"])
    for split, ids in told["split_files"].items():
        yield exact(f"split {split}", read_split(world.folder, split), ids)
    for split, ids in told["keyids"].items():
        yield exact(f"usable of {split}", list(world.segments(split)), ids)
    with torch.no_grad():
        if (case / "items.json").is_file():
            yield from _items(world, read_json(case / "items.json"))
        else:
            yield unchecked("items", "no items.json")
        yield from _retrieval(world, told, arrays)
        yield from _latents(world, told, arrays)
        yield from _commands(world, told["cli"], arrays)


def _items(world: World, told: Mapping[str, Any]) -> Iterator[Check]:
    mean, std = world.evaluator.mean, world.evaluator.std
    for key, item in told.items():
        split = next(s for s in ("test", "val", "train") if key in read_split(world.folder, s))
        segment = world.segments(split)[key][0]
        motion = (world.clip(world.annotations[key], segment) - mean) / std
        tokens = world.evaluator.read([segment.text]).tokens.shape[1]
        yield exact(
            f"item {key}", (segment.text, len(motion), tokens), (item["text"], item["length"], item["text_tokens"])
        )
        yield compare(f"item {key} first", motion[0, : len(item["motion_first5"])], item["motion_first5"], F32)
        yield compare(f"item {key} last", motion[-1, -len(item["motion_last5"]) :], item["motion_last5"], F32)


def _similarity(world: World, split: str) -> tuple[list[str], Tensor, Tensor]:
    """Ids, cosines ``(texts, motions)`` and unit sentence embeddings of a split."""
    first = {key: found[0] for key, found in world.segments(split).items()}
    texts = [segment.text for segment in first.values()]
    motions = [world.clip(world.annotations[key], segment) for key, segment in first.items()]
    pairs = (F.normalize(x, dim=-1) for x in (world.texts(texts), world.embed(motions)))
    text, motion = pairs
    sentences = world.sentences.encode(texts).pooled
    assert sentences is not None
    return list(first), text @ motion.mT, sentences


def _retrieval(world: World, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Check]:
    ids, similarity, sentences = _similarity(world, "test")
    yield compare("test_sim_matrix", similarity, arrays["test_sim_matrix"], F32)
    yield compare("test_sent_emb", sentences, arrays["test_sent_emb"], F32)
    small = _similarity(world, "nsim_test")
    yield compare("nsim_sim_matrix", small[1], arrays["nsim_sim_matrix"], F32)
    # the authors' matrices: exact ties and neighbours in the last digit decide ranks
    whole, nsim = (torch.from_numpy(arrays[n]) for n in ("test_sim_matrix", "nsim_sim_matrix"))
    for name, expected in told["metrics_files"].items():
        if name == "nsim":
            yield from scores_checks(f"{name}.yaml", rounded([nsim]), expected, tied(nsim))
        elif name == "guo":
            order = torch.tensor(sorted(range(len(ids)), key=lambda i: ids[i]))
            blocks = [order[torch.from_numpy(b)] for b in guo_blocks(len(ids))]
            galleries = [whole[b][:, b] for b in blocks]
            yield from scores_checks(f"{name}.yaml", rounded(galleries), expected, any(map(tied, galleries)))
        elif name == "normal" or name.startswith("threshold_"):
            threshold = None if name == "normal" else float(name.removeprefix("threshold_"))
            scores = rounded([whole], sentences, threshold)
            yield from scores_checks(f"{name}.yaml", scores, expected, tied(whole))
        else:
            yield unchecked(f"protocol {name}", "unknown")


def gallery_all(world: World) -> Gallery:
    """Latents of the split ``all``: usable clips, cut to the first remaining caption, described by the very first."""
    first = {key: found[0] for key, found in world.segments("all").items()}
    latents = world.embed([world.clip(world.annotations[key], segment) for key, segment in first.items()])
    return Gallery(tuple(first), tuple(world.annotations[key].segments[0].text for key in first), latents)


def _latents(world: World, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Check]:
    gallery = gallery_all(world)
    yield exact("latents_keyids_index", {k: i for i, k in enumerate(gallery.ids)}, told["latents_keyids_index"])
    yield compare("all_latents", gallery.latents, arrays["all_latents"], F32)
    yield compare("all_unit_latents", F.normalize(gallery.latents, dim=-1), arrays["all_unit_latents"], F32)


def _commands(world: World, cli: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Check]:
    path = cli["motion"].removesuffix(".npy")
    clip = next(clip for clip in world.annotations.values() if path.endswith(f"/{clip.path}"))
    motion, text = world.embed([world.clip(clip)])[0], world.texts([cli["text"]])[0]
    for name in (n for n in arrays if n.startswith("cli_encoded/")):
        yield compare(name, motion if Path(cli["motion"]).name in name else text, arrays[name], F32)
    score = float(F.cosine_similarity(motion, text, dim=0)) / 2 + 0.5
    for printed in cli["similarity_line"]:
        yield compare("printed similarity", round(score, len(printed.partition(".")[2])), float(printed), 1e-6)


def motion_to_motion(case: Path, load: Loader) -> Iterator[Check]:
    """Generated motions against the authors' latents of two galleries."""
    yield from strange(case, ".npz", ".json")
    told, arrays = read_json(case / "expected.json"), read_arrays(case / "vectors.npz")
    world = World((case / told["run_dir"]).resolve().parent, load)
    with torch.no_grad():
        whole = gallery_all(world)
        for wanted in told["expected"]:
            rows = [whole.ids.index(key) for key in wanted["keyids"]]
            gallery = Gallery(tuple(wanted["keyids"]), tuple(whole.descriptions[i] for i in rows), whole.latents[rows])
            records = wanted["records"]
            queries = [world.motion(r["motion_formula_key"], r["length"]) for r in records]
            latents = world.embed(queries)
            name = wanted["gallery"]
            found = search(latents, gallery, told["top_k"])
            if name == "all":
                yield exact("gallery all", list(whole.ids), wanted["keyids"])
                yield compare("query_latents", latents, arrays["query_latents"], F32)
                yield compare("cosine", gallery.nearness(latents), arrays["cosine"], F32)
            index = arrays.get(f"topk_index_into_gallery_{name}")
            yield exact(f"top {told['top_k']} of {name}", np.array([[h.row for h in hits] for hits in found]), index)
            for number, (hits, record) in enumerate(zip(found, records, strict=True)):
                yield from _hits(f"{name}/{number}", [hit.to_json() for hit in hits], record["retrieval"])


def _hits(name: str, ours: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    keys = ("keyid", "description")
    yield exact(f"{name} retrieval", [[h[k] for k in keys] for h in ours], [[h[k] for k in keys] for h in expected])
    for key in ("cosine", "score"):
        yield compare(f"{name} {key}", [h[key] for h in ours], [h[key] for h in expected], F32)
