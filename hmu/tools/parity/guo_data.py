"""Parity of the readers and word vectors of the evaluator's data (``guo_data``)."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmu.checkpoints.words import read_word_index
from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.data.reading import floor_length
from hmu.evaluators.guo.vocabulary import CLASSES, VIP_WORDS, Vocabulary, load_glove, pad_tokens
from hmu.tools.parity.checks import Check, compare, exact
from hmu.tools.parity.dataset import F32, Array, item_motion, one_hot, read

VARIANTS = {"original": "original", "hmu": "hmu_eval"}
DATASETS = {"MotionX": "Motion-X"}


def guo_data(folder: Path) -> Iterator[Check]:
    """Word vectors, entries and items of every recorded variant."""
    golden = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    arrays = dict(np.load(folder / "dataset.npz"))
    vocabulary, vectors = load_glove(folder / "glove")
    yield from _glove(folder, vocabulary, vectors.numpy())
    motions, texts = {}, {}
    for clip, spec in golden["files"].items():
        k = spec["index"]
        if spec["length"] is not None:
            t, j = np.arange(spec["length"])[:, None], np.arange(golden["dim"])[None, :]
            motions[clip] = np.sin(0.05 * t * (1 + 0.3 * k) + 0.11 * j + 0.7 * k).astype(np.float32)
        if spec["text_lines"] is not None:
            texts[clip] = "".join(f"{line}\n" for line in spec["text_lines"])
    for name, result in golden["results"].items():
        kind, _, published = name.partition("_")
        if kind not in VARIANTS:
            yield exact(f"{name}: unknown variant", False, True)
            continue
        rule, data = VARIANTS[kind], DATASETS.get(published, published)
        with tempfile.TemporaryDirectory() as temporary:
            clips, source = read(Path(temporary), golden["split"], texts, motions, rule=rule, dataset=data)
            yield from _guo_entries(name, result, clips, source, golden["split"])
            yield from _guo_items(name, result, clips, arrays, vocabulary, vectors.numpy())
            del clips, source


def _glove(folder: Path, vocabulary: Vocabulary, vectors: Array) -> Iterator[Check]:
    golden = json.loads((folder / "vectorizer.json").read_text(encoding="utf-8"))
    arrays = np.load(folder / "vectorizer.npz")
    rows, classes = (x[0].numpy() for x in vocabulary.encode([golden["tokens"]]))
    index = read_word_index(folder / "glove" / "our_vab_idx.pkl")
    ours = {
        "word": vectors[rows],
        "word_index": np.array([index[vocabulary.words[row]] for row in rows]),
        "pos": one_hot(classes),
        "pos_index": classes,
    }
    for key in arrays.files:
        known = next((k for k in sorted(ours, key=len, reverse=True) if key.startswith(k)), None)
        yield (
            compare(f"vectorizer {key}", ours[known], arrays[key], 0.0)
            if known
            else exact(f"unknown array {key}", 0, 1)
        )
    yield exact("vectorizer classes", list(CLASSES), golden["pos_order"])
    yield exact(
        "vectorizer vip", {k: set(v) for k, v in VIP_WORDS.items()}, {k: set(v) for k, v in golden["vip_words"].items()}
    )
    yield exact("vectorizer len", len(vocabulary), golden["len"])


def _bare(name: str) -> str:
    """A published name without its random letter."""
    return re.sub(r"^[A-W]_", "", name)


def _guo_entries(
    name: str, result: Mapping[str, Any], clips: MotionClips, source: DatasetSource, split: Sequence[str]
) -> Iterator[Check]:
    per_line = source.rule.per_line
    numbers = clips.table.number.tolist()
    ours = [f"{n}%{clip}" if per_line else clip for n, clip in zip(numbers, clips.clip_ids, strict=True)]
    yield exact(f"{name} names", ours, [_bare(n) for n in result["names"]])
    yield exact(f"{name} lengths", clips.lengths.tolist(), result["lengths"])
    yield exact(f"{name} pointer", int(np.searchsorted(clips.lengths, 20)), result["pointer"])
    yield exact(f"{name} len", len(clips) - result["pointer"], result["len"])
    captions = [[c.text for c in clips.captions(i)] for i in range(len(clips))]
    yield exact(f"{name} captions", captions, [result["captions"][n] for n in result["names"]])
    if per_line:  # the original reader is silent about what it drops
        broken = {entry.split()[0] for ids in source.pack.problems.values() for entry in ids}
        yield exact(f"{name} reported", [clip for clip in split if clip in broken], result["reported_bad"])


def _guo_items(
    name: str,
    result: Mapping[str, Any],
    clips: MotionClips,
    arrays: Mapping[str, Array],
    vocabulary: Vocabulary,
    vectors: Array,
) -> Iterator[Check]:
    statistics = (arrays["mean"], arrays["std"])
    for k, item in enumerate(result["items"]):
        index, caption = item["index"], clips.caption(item["index"], item["text_choice"])
        frames = int(clips.lengths[index])
        length = floor_length(frames, clips.unit_length, double=item["coin"] == "double")
        tokens, count = pad_tokens(caption.tokens)
        ours = (caption.text, length, count, "_".join(tokens))
        yield exact(f"{name} item {k}", ours, (item["caption"], item["m_length"], item["sent_len"], item["tokens"]))
        rows, classes = (x[0].numpy() for x in vocabulary.encode([tokens]))
        shape = arrays[f"{name}/{k}/motion_shape"]
        start = _forced_start(
            clips,
            index,
            item["start_fraction"] * (frames - length),
            length,
            statistics,
            arrays[f"{name}/{k}/motion_first"],
        )
        motion = item_motion(clips, index, start, length, statistics, int(shape[0]))
        values = {
            "word": vectors[rows],
            "pos_index": classes,
            "motion_first": motion[0],
            "motion_last_valid": motion[length - 1],
            "motion_sum_abs": np.abs(motion).sum(),
            "motion_shape": motion.shape,
        }
        for key, value in values.items():
            yield compare(f"{name}/{k}/{key}", value, arrays[f"{name}/{k}/{key}"], F32)
    collate = result.get("collate")
    if collate:
        rows_ = [pad_tokens(clips.caption(i, 0).tokens) for i in range(len(collate["sent_lens_before"]))]
        yield exact(f"{name} collate before", [r[1] for r in rows_], collate["sent_lens_before"])
        after = sorted(rows_, key=lambda row: -row[1])
        yield exact(f"{name} collate", ["_".join(r[0]) for r in after], collate["tokens_after"])


def _forced_start(
    clips: MotionClips, index: int, place: float, length: int, statistics: tuple[Array, Array], first: Array
) -> int:
    """The recorded fraction of the way in frames; how halves were rounded is not recorded, so see which fits."""
    candidates = sorted({math.floor(place), math.ceil(place)})
    off = [np.abs(item_motion(clips, index, c, length, statistics, length)[0] - first).max() for c in candidates]
    return candidates[int(np.argmin(off))]


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"guo_data": guo_data}
