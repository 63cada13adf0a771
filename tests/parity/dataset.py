"""Parity of HMU's published readers (``dataset``).

The golden clips are written to a temporary folder in HumanML3D layout and read back through our ordinary path.
"""

from __future__ import annotations

import json
import logging
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.data.reading import floor_length, published_min_frames
from hmu.evaluators.guo.vocabulary import CLASSES, VIP_WORDS, Vocabulary, pad_tokens
from tests.parity.checks import Check, compare, exact

SPLIT = "golden"
UNIT_OF_COIN = 10  # the single/double coin is thrown for units shorter than this
F32 = 2e-6

Array = NDArray[Any]


def read(
    folder: Path,
    ids: Sequence[str],
    texts: Mapping[str, str],
    motions: Mapping[str, Array],
    *,
    rule: str,
    dataset: str,
    unit: int = 4,
    longest: int = 196,
) -> tuple[MotionClips, DatasetSource]:
    """Write the clips to ``folder`` and read them by a published rule under a published data set name."""
    for sub in ("new_joint_vecs", "texts"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for clip, motion in motions.items():
        np.save(folder / "new_joint_vecs" / f"{clip}.npy", motion)
    for clip, text in texts.items():
        (folder / "texts" / f"{clip}.txt").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    (folder / f"{SPLIT}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    source = DatasetSource(
        name="golden",
        root=folder,
        fps=20.0,
        features=next(iter(motions.values())).shape[1],
        min_frames=published_min_frames(rule, dataset),
        max_frames=longest,
        unit_length=unit,
        cache_dir=folder / "cache",
        motion_dir="new_joint_vecs",
        text_dir="texts",
        splits=(SPLIT,),
        rule=rule,
        strict=False,
    )
    logger = logging.getLogger(DatasetSource.__module__)
    level = logger.level
    logger.setLevel(logging.ERROR)  # the clips are broken on purpose
    try:
        return source.clips(SPLIT), source
    finally:
        logger.setLevel(level)


def item_motion(
    clips: MotionClips, index: int, start: int, length: int, statistics: tuple[Array, Array], to: int
) -> Array:
    """One normalised item ``(to, features)``, zero after its end, as the published readers deliver it."""
    motion = clips.cut(np.array([index]), np.array([start]), np.array([length]))[0].numpy()
    padded = np.zeros((to, motion.shape[1]))
    padded[:length] = (motion - statistics[0]) / statistics[1]
    return padded


def one_hot(classes: Array) -> Array:
    """Class numbers as one-hot rows."""
    return np.eye(len(CLASSES))[classes]


# -- HMU's readers ----------------------------------------------------------------------------------------------------
def dataset(folder: Path) -> Iterator[Check]:
    """Entries, lengths, items and word vectors of every recorded reader."""
    golden = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    arrays = dict(np.load(folder / "vectors.npz"))
    vocabulary = Vocabulary(tuple(golden["vocab"]))
    used = {"glove", "mean", "std"}
    yield from _vectorised(golden, arrays, vocabulary, used)
    yield exact("vip words", {k: sorted(set(v)) for k, v in VIP_WORDS.items()}, _vip(folder))
    motions = {
        clip: np.sin(0.37 * np.arange(n * golden["motion_dim"]) + zlib.crc32(f"motion.{clip}".encode()) % 1000)
        .reshape(n, -1)
        .astype(np.float32)
        for clip, n in golden["motion_lengths"].items()
    }
    for name, case in golden["cases"].items():
        rule = {"eval": "hmu_eval", "train": "hmu_train"}.get(name.split("_")[0])
        if rule is None:
            yield exact(f"{name}: unknown kind of reader", False, True)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            options = {"rule": rule, "dataset": case["dataset_name"], "unit": case["unit_length"]}
            clips, _ = read(
                Path(temporary), golden["ids"], golden["texts"], motions, **options, longest=case["max_motion_length"]
            )
            yield from _entries(name, case, clips, per_line=rule == "hmu_eval")
            yield from _items(name, case, clips, arrays, vocabulary, used)
            del clips
    for key in sorted(set(arrays) - used):
        yield exact(f"unknown array {key}", False, True)


def _vip(folder: Path) -> dict[str, list[str]]:
    content = json.loads((folder / "vip_words.json").read_text(encoding="utf-8"))
    return {name: sorted(set(words)) for name, words in content.items()}


def _vectorised(
    golden: Mapping[str, Any], arrays: Mapping[str, Array], vocabulary: Vocabulary, used: set[str]
) -> Iterator[Check]:
    rows, classes = (x[0].numpy() for x in vocabulary.encode([golden["vectorizer_tokens"]]))
    yield exact("vec_index", rows, arrays["vec_index"])
    yield compare("vec_word", arrays["glove"][rows], arrays["vec_word"], 0.0)
    yield compare("vec_pos", one_hot(classes), arrays["vec_pos"], 0.0)
    order = golden["POS_enumerator"]
    yield exact("classes", list(CLASSES), sorted(order, key=lambda name: order[name]))
    used |= {"vec_index", "vec_word", "vec_pos"}


def _names(case: Mapping[str, Any], clips: MotionClips, per_line: bool) -> list[str]:
    """Published names; letters of sub-clips are random there, so they are taken from the recorded draws."""
    if per_line:
        return [f"{n}%{clip}" for n, clip in zip(clips.table.number.tolist(), clips.clip_ids, strict=True)]
    letters = iter([value for kind, value in case["random_draws_while_reading"] if kind == "random.choice"])
    names: list[str] = []
    for number, clip in zip(clips.table.number.tolist(), clips.clip_ids, strict=True):
        name = clip
        while number >= 0 and (name == clip or name in names):
            name = f"{next(letters)}_{clip}"
        names.append(name)
    return names


def _entries(name: str, case: Mapping[str, Any], clips: MotionClips, *, per_line: bool) -> Iterator[Check]:
    names, lengths = _names(case, clips, per_line), clips.lengths.tolist()
    yield exact(f"{name} names", names, case["name_list"])
    yield exact(f"{name} lengths", lengths, case["length_list"])
    yield exact(f"{name} pointer", int(np.searchsorted(lengths, 20)) if per_line else 0, case["pointer"])
    yield exact(f"{name} len", len(clips) - (int(case["pointer"]) if per_line else 0), case["len"])
    captions = [clips.captions(i) for i in range(len(clips))]
    ours = {
        key: {"length": n, "captions": [c.text for c in cs], "tokens": [list(c.tokens) for c in cs]}
        for key, n, cs in zip(names, lengths, captions, strict=True)
    }
    fields = ("length", "captions", "tokens")
    wanted = {key: {f: value[f] for f in fields if f in value} for key, value in case["entries"].items()}
    ours = {key: {f: value[f] for f in wanted.get(key, fields)} for key, value in ours.items()}
    yield exact(f"{name} entries", ours, wanted)


def _items(
    name: str,
    case: Mapping[str, Any],
    clips: MotionClips,
    arrays: Mapping[str, Array],
    vocabulary: Vocabulary,
    used: set[str],
) -> Iterator[Check]:
    statistics = (arrays["mean"], arrays["std"])
    framed: list[tuple[int, str, int]] = []
    for item in case["items"]:
        index = int(item["item"]) + int(case["pointer"])
        draws: dict[str, list[Any]] = {draw[0]: draw[1:] for draw in item["draws"]}
        caption = clips.caption(index, int(draws["random.choice"][0]))
        coin = draws.get("np.random.choice", ["single"])[0]
        frames, unit = int(clips.lengths[index]), int(case["unit_length"])
        length = floor_length(frames, unit, double=coin == "double")
        low, high, start = draws["random.randint"]
        label = f"{name} item {item['item']}"
        yield exact(f"{label} coin thrown", "np.random.choice" in draws, unit < UNIT_OF_COIN)
        told = (caption.text, length, (0, frames - length))
        yield exact(label, told, (item["caption"], item["m_length"], (low, high)))
        tokens, count = pad_tokens(caption.tokens, int(case["max_text_len"]))
        framed.append((count, caption.text, length))
        if "joined_tokens" in item:
            yield exact(f"{label} tokens", ("_".join(tokens), count), (item["joined_tokens"], item["sent_len"]))
        key = f"{name}__motion_{item['item']}"
        if key in arrays:
            motion = item_motion(clips, index, start, length, statistics, int(case["max_motion_length"]))
            yield compare(key, motion, arrays[key], F32)
            used.add(key)
        yield from _item_words(f"{name}__%s_{item['item']}", tokens, arrays, vocabulary, used)
    collated = case.get("collated_first_items_order")
    if collated:
        first = sorted(framed[: len(collated["captions"])], key=lambda row: -row[0])
        yield exact(
            f"{name} collate",
            [[r[1] for r in first], [r[0] for r in first]],
            [collated["captions"], collated["sent_len"]],
        )


def _item_words(
    key: str, tokens: Sequence[str], arrays: Mapping[str, Array], vocabulary: Vocabulary, used: set[str]
) -> Iterator[Check]:
    rows, classes = (x[0].numpy() for x in vocabulary.encode([tokens]))
    for name, ours in ((key % "word", arrays["glove"][rows]), (key % "pos", one_hot(classes))):
        if name in arrays:
            yield compare(name, ours, arrays[name], 0.0)
            used.add(name)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"dataset": dataset}
