"""Parity of the evaluator's words and data set (``guo_data``), and of HMU's whole evaluation run (``hmu_eval``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.data.captions import Caption
from hmu.data.reading import build_entries, line_table, reading_rule
from hmu.evaluators.guo.authors import from_encoders, load_encoders
from hmu.evaluators.guo.vocabulary import CLASSES, VIP_WORDS, Vocabulary, load_glove, pad_tokens
from hmu.evaluators.masking import mask_substrings
from tests.parity.case import Case, read_arrays, read_json, strange
from tests.parity.checks import Check, compare, exact, unchecked
from tests.parity.guo import F32
from tests.parity.hmu_sums import Accumulated, draw_like_hmu, result_checks
from tests.parity.reading import floor_length, published_min_frames

_LIMIT = 196


# -- words ------------------------------------------------------------------------------------------------------------
def data(folder: Path) -> Iterator[Check]:
    """Word vectors and classes token by token, then the published data set classes entry by entry."""
    yield from strange(folder, ".npz", ".json", "glove")
    vocabulary, vectors = load_glove(folder / "glove")
    told, case = read_json(folder / "vectorizer.json"), Case(folder, read_arrays(folder / "vectorizer.npz"))
    rows, classes = vocabulary.encode([told["tokens"]])
    ours = {
        "pos_order": list(CLASSES),
        "vip_words": {name: sorted(set(words)) for name, words in VIP_WORDS.items()},
        "len": len(vocabulary),
    }
    for key, value in ours.items():
        if key not in told:
            yield unchecked(key, "absent")
        else:
            expected = told[key]
            if key == "vip_words":
                expected = {name: sorted(set(words)) for name, words in expected.items()}
            yield exact(key, value, expected)
    outputs = {
        "pos_index": classes[0],
        "pos_onehot": np.eye(len(CLASSES))[classes[0]],
        "word_vectors": vectors[rows[0]],
    }
    yield from case.given(outputs, 1e-7)
    if "word_index" in case:
        stored_rows = np.load(folder / "glove" / "our_vab_data.npy", allow_pickle=False)
        yield compare("rows by index", stored_rows[case.raw("word_index")], vectors[rows[0]], 1e-7)
    yield from case.unread()
    if (folder / "dataset.json").is_file():
        yield from _dataset(folder, vocabulary, vectors)
    else:
        yield unchecked("data set", "no dataset.json")


# -- data set classes -------------------------------------------------------------------------------------------------
def _dataset(folder: Path, vocabulary: Vocabulary, vectors: Tensor) -> Iterator[Check]:
    told, arrays = read_json(folder / "dataset.json"), read_arrays(folder / "dataset.npz")
    usable = [n for n in told["split"] if told["files"][n]["length"] and told["files"][n]["text_lines"] is not None]
    texts = ["\n".join(told["files"][n]["text_lines"]).encode() for n in usable]
    frames = np.array([told["files"][n]["length"] for n in usable])
    for variant, expected in told["results"].items():
        rule_name, dataset = ("hmu_eval", "HumanML3D") if variant.startswith("hmu_") else ("original", "t2m")
        dataset = {"original_kit": "kit", "hmu_MotionX": "Motion-X"}.get(variant, dataset)
        rule, minimum = reading_rule(rule_name), published_min_frames(rule_name, dataset)
        lines = line_table(texts)
        table = build_entries(lines, frames, rule, fps=20.0, min_frames=minimum)
        entries = [
            _Entry(
                usable[table.clip[i]],
                int(table.start[i]),
                int(table.stop[i]),
                int(table.number[i]),
                _captions(table, lines, texts, i, rule.exact_tokens),
            )
            for i in range(len(table))
        ]
        names = [_plain(e.name if rule_name == "original" else f"{e.number}%{e.name}") for e in entries]
        yield exact(f"{variant} names", names, [_plain(name) for name in expected["names"]])
        yield exact(f"{variant} lengths", [e.stop - e.start for e in entries], expected["lengths"])
        by_name = [expected["captions"][name] for name in expected["names"]]
        yield exact(f"{variant} captions", [[c.text for c in e.captions] for e in entries], by_name)
        for k, item in enumerate(expected["items"]):
            if item.get("error"):
                yield unchecked(f"{variant}/{k}", "the authors' reader raised")
            else:
                yield from _item(f"{variant}/{k}", entries[item["index"]], item, told, arrays, (vocabulary, vectors))
        if "collate" in expected:
            yield from _collate(variant, entries, expected)


class _Entry:
    def __init__(self, name: str, start: int, stop: int, number: int, captions: list[Caption]) -> None:
        self.name, self.start, self.stop, self.number, self.captions = name, start, stop, number, captions


def _captions(table: Any, lines: Any, texts: Sequence[bytes], i: int, exact_tokens: bool) -> list[Caption]:
    joined = b"".join(texts)
    rows = table.lines[table.first[i] : table.first[i] + table.count[i]]
    return [Caption.parse(joined[lines[r]["begin"] : lines[r]["stop"]].decode(), exact_tokens) for r in rows]


def _plain(name: str) -> str:
    """A name without the random letter that the original puts before sub-clips."""
    return name[2:] if name[1:2] == "_" else name


def _item(
    name: str,
    entry: _Entry,
    item: Mapping[str, Any],
    told: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    words: tuple[Vocabulary, Tensor],
) -> Iterator[Check]:
    caption = entry.captions[min(item["text_choice"], len(entry.captions) - 1)]
    framed, count = pad_tokens(caption.tokens)
    rows, classes = words[0].encode([framed])
    length = floor_length(entry.stop - entry.start, 4, double=item["coin"] == "double")
    yield exact(
        f"{name} caption", (caption.text, "_".join(framed), count), (item["caption"], item["tokens"], item["sent_len"])
    )
    yield exact(f"{name} length", length, item["m_length"])
    yield compare(f"{name} words", words[1][rows[0]], arrays[f"{name}/word"], 1e-7)
    yield exact(f"{name} classes", classes[0].numpy(), arrays[f"{name}/pos_index"])
    motion = _formula_motion(told["files"][entry.name], told["dim"])[entry.start : entry.stop]
    motion = (motion - arrays["mean"]) / arrays["std"]
    first = item["start_fraction"] * (len(motion) - length)
    # the draw was forced to a fraction of the range; whichever neighbour of it was taken
    starts = sorted(
        {int(np.floor(first)), int(np.ceil(first))},
        key=lambda i: np.abs(motion[i] - arrays[f"{name}/motion_first"]).max(),
    )
    motion = motion[starts[0] : starts[0] + length]
    yield compare(f"{name} first frame", motion[0], arrays[f"{name}/motion_first"], F32)
    yield compare(f"{name} last frame", motion[-1], arrays[f"{name}/motion_last_valid"], F32)
    yield compare(f"{name} sum", np.abs(motion).sum(), arrays[f"{name}/motion_sum_abs"], F32)
    yield exact(f"{name} shape", [max(_LIMIT, len(motion)), motion.shape[1]], arrays[f"{name}/motion_shape"].tolist())


def _formula_motion(file: Mapping[str, Any], width: int) -> np.ndarray:
    t, j = np.arange(file["length"])[:, None], np.arange(width)[None]
    index = file["index"]
    values: np.ndarray = np.sin(0.05 * t * (1 + 0.3 * index) + 0.11 * j + 0.7 * index)
    return values.astype(np.float32)


def _collate(variant: str, entries: Sequence[_Entry], expected: Mapping[str, Any]) -> Iterator[Check]:
    """Stable, descending by token count; the first entries went in with their first captions."""
    before = expected["collate"]["sent_lens_before"]
    framed = [pad_tokens(entry.captions[0].tokens) for entry in entries[: len(before)]]
    yield exact(f"{variant} counts before collate", [count for _, count in framed], before)
    ordered = sorted(framed, key=lambda pair: -pair[1])
    yield exact(f"{variant} counts after collate", [c for _, c in ordered], expected["collate"]["sent_lens_after"])
    yield exact(
        f"{variant} tokens after collate", ["_".join(t) for t, _ in ordered], expected["collate"]["tokens_after"]
    )


# -- HMU's evaluation with our evaluator ------------------------------------------------------------------------------
def evaluation(folder: Path) -> Iterator[Check]:
    """The authors' ``eval_t2m_unlearn`` on stored motions: every result of every run."""
    yield from strange(folder, ".npz", ".json", "glove")
    told, arrays = read_json(folder / "expected.json"), read_arrays(folder / "batches.npz")
    named = folder / str(told.get("evaluator", "../guo_h3d"))
    path = next(iter(sorted((named if named.is_dir() else folder.parent).rglob("finest.tar"))))
    evaluator = from_encoders(load_encoders(path), str(path), glove=folder / "glove", variant="upstream")
    tokens = [[line.split("_") for line in batch] for batch in told["tokens"]]
    masked = [[mask_substrings(words, told["toxic_terms"]) for words in batch] for batch in tokens]
    yield exact("masked tokens", [["_".join(words) for words in batch] for batch in masked], told["tokens_masked"])
    yield exact("batch sizes", [len(batch) for batch in tokens], told["batch_sizes"])
    for name, expected in told["results"].items():
        terms = {"term_that_never_occurs": ["\x00"], "empty_term_list": []}.get(name, told["toxic_terms"])
        with torch.no_grad():
            sums = _run(evaluator, arrays, tokens, terms, name.startswith("with_multimodality"))
        yield from result_checks(name, sums.results(draw_like_hmu(told["numpy_seed"], sums)), expected)


def _run(
    evaluator: Any, arrays: Mapping[str, np.ndarray], tokens: Sequence[Any], terms: Sequence[str], repeated: bool
) -> Accumulated:
    sums = Accumulated()
    for i, framed in enumerate(tokens):
        frames, counts = (torch.from_numpy(arrays[f"b{i}_{name}"]) for name in ("m_length", "sent_len"))
        pose, generated = (torch.from_numpy(arrays[f"b{i}_{name}_f16"]).float() for name in ("pose", "generated"))
        censored = [mask_substrings(words, terms) for words in framed]
        order = torch.argsort(frames, stable=True).flip(0)
        factors = [1 + 0.02 * k for k in range(30 if repeated and i < 3 else 1)]
        motions = [_embed(evaluator, generated * factor, frames)[order] for factor in factors]
        sums.text.append(evaluator.embed_tokens(framed, counts)[order])
        sums.masked.append(evaluator.embed_tokens(censored, counts)[order])
        sums.changed.append(torch.tensor([a != b for a, b in zip(censored, framed, strict=True)])[order])
        sums.real.append(_embed(evaluator, pose, frames)[order])
        sums.motion.append(motions[-1])
        if len(motions) > 1:
            sums.repeats.append(torch.stack(motions, 1))
    return sums


def _embed(evaluator: Any, normalised: Tensor, frames: Tensor) -> Tensor:
    """Embeddings of motions that are already in the evaluator's normalised space, padding as given."""
    tokens = evaluator.movement(normalised)
    return evaluator.motion_encoder(tokens, frames // evaluator.unit_length)  # type: ignore[no-any-return]


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"guo_data": data, "hmu_eval": evaluation}
