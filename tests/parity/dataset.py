"""Parity of the published readers: HMU's (``dataset``).

The golden clips are written to a temporary folder in HumanML3D layout and read back through our ordinary path.
"""

from __future__ import annotations

import logging
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.evaluators.guo.vocabulary import CLASSES, VIP_WORDS, Vocabulary, pad_tokens
from tests.parity.arithmetic import floor_length, published_min_frames
from tests.parity.case import Case, read_json
from tests.parity.checks import Checks, exact, unchecked
from tests.parity.kinds import compares

SPLIT = "golden"
UNIT_OF_COIN = 10  # the single/double coin is thrown for units shorter than this
F32 = 2e-6

Array = NDArray[Any]


@contextmanager
def reading(
    ids: Sequence[str],
    texts: Mapping[str, str],
    motions: Mapping[str, Array],
    *,
    rule: str,
    dataset: str,
    unit: int = 4,
    longest: int = 196,
) -> Iterator[MotionClips]:
    """The clips as a published rule reads them under a published data set name."""
    logger = logging.getLogger(DatasetSource.__module__)
    level = logger.level
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write(folder, ids, texts, motions)
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
        logger.setLevel(logging.ERROR)  # the clips are broken on purpose
        try:
            yield source.clips(SPLIT)
        finally:
            logger.setLevel(level)


def _write(folder: Path, ids: Sequence[str], texts: Mapping[str, str], motions: Mapping[str, Array]) -> None:
    """The clips in HumanML3D layout."""
    for sub in ("new_joint_vecs", "texts"):
        (folder / sub).mkdir()
    for clip, motion in motions.items():
        np.save(folder / "new_joint_vecs" / f"{clip}.npy", motion)
    for clip, text in texts.items():
        (folder / "texts" / f"{clip}.txt").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    (folder / f"{SPLIT}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")


def cut(clips: MotionClips, index: int, start: int, length: int, statistics: tuple[Array, Array]) -> Array:
    """Normalised frames ``(length, features)`` of one entry."""
    motion = clips.windows(np.array([index]), np.array([start]), np.array([length])).motion[0].numpy()
    return (motion - statistics[0]) / statistics[1]


def one_hot(classes: Array) -> Array:
    """Class numbers as one-hot rows."""
    return np.eye(len(CLASSES))[classes]


def vip_words(recorded: Mapping[str, Sequence[str]] = VIP_WORDS) -> dict[str, list[str]]:
    """The words of every class that have one, each once."""
    return {name: sorted(set(words)) for name, words in recorded.items()}


# -- HMU's readers ----------------------------------------------------------------------------------------------------
@compares("dataset")
def dataset(case: Case) -> Checks:
    """Entries, lengths, items and word vectors of every recorded reader."""
    golden = read_json(case.folder / "expected.json")
    vocabulary = Vocabulary(tuple(golden["vocab"]))
    case.used |= {"glove", "mean", "std"}
    if "vectorizer_tokens" in golden:
        rows, classes = (x[0].numpy() for x in vocabulary.encode([golden["vectorizer_tokens"]]))
        outputs = {"vec_index": rows, "vec_word": case.raw("glove")[rows], "vec_pos": one_hot(classes)}
        yield from case.given(outputs, 0.0)
    if "POS_enumerator" in golden:
        order = golden["POS_enumerator"]
        yield exact("classes", list(CLASSES), sorted(order, key=lambda name: order[name]))
    if (path := case.folder / "vip_words.json").is_file():
        yield exact("vip words", vip_words(), vip_words(read_json(path)))
    else:
        yield unchecked("vip words", "no vip_words.json")
    motions = {
        clip: np.sin(0.37 * np.arange(n * golden["motion_dim"]) + zlib.crc32(f"motion.{clip}".encode()) % 1000)
        .reshape(n, -1)
        .astype(np.float32)
        for clip, n in golden["motion_lengths"].items()
    }
    for name, recorded in golden["cases"].items():
        rule = {"eval": "hmu_eval", "train": "hmu_train"}.get(name.split("_")[0])
        if rule is None:
            yield unchecked(name, "unknown kind of reader")
            continue
        options = {
            "dataset": recorded["dataset_name"],
            "unit": recorded["unit_length"],
            "longest": recorded["max_motion_length"],
        }
        with reading(golden["ids"], golden["texts"], motions, rule=rule, **options) as clips:
            yield from _entries(name, recorded, clips, per_line=rule == "hmu_eval")
            yield from _items(name, recorded, clips, case, vocabulary)
            del clips


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


def _entries(name: str, case: Mapping[str, Any], clips: MotionClips, *, per_line: bool) -> Checks:
    names, lengths = _names(case, clips, per_line), clips.lengths.tolist()
    yield exact(f"{name} names", names, case["name_list"])
    yield exact(f"{name} lengths", lengths, case["length_list"])
    yield exact(f"{name} pointer", int(np.searchsorted(lengths, 20)) if per_line else 0, case["pointer"])
    yield exact(f"{name} len", len(clips) - (int(case["pointer"]) if per_line else 0), case["len"])
    ours = {
        key: {"length": n, "captions": [c.text for c in cs], "tokens": [list(c.tokens) for c in cs]}
        for key, n, cs in zip(names, lengths, clips.captions, strict=True)
    }
    fields = ("length", "captions", "tokens")
    expected = {key: {f: value[f] for f in fields if f in value} for key, value in case["entries"].items()}
    ours = {key: {f: value[f] for f in expected.get(key, fields)} for key, value in ours.items()}
    yield exact(f"{name} entries", ours, expected)


def _items(name: str, recorded: Mapping[str, Any], clips: MotionClips, case: Case, vocabulary: Vocabulary) -> Checks:
    framed: list[tuple[int, str]] = []
    for item in recorded["items"]:
        label, index = f"{name} item {item['item']}", int(item["item"]) + int(recorded["pointer"])
        if item.get("error"):
            yield unchecked(label, "the authors' reader raised")
            continue
        draws: dict[str, list[Any]] = {draw[0]: draw[1:] for draw in item["draws"]}
        caption = clips.caption(index, int(draws.get("random.choice", [0])[0]))
        frames, unit = int(clips.lengths[index]), int(recorded["unit_length"])
        length = floor_length(frames, unit, double=draws.get("np.random.choice", [""])[0] == "double")
        low, high, start = draws.get("random.randint", (0, frames - length, 0))
        yield exact(f"{label} coin thrown", "np.random.choice" in draws, unit < UNIT_OF_COIN)
        ours = (caption.text, length, (0, frames - length))
        yield exact(label, ours, (item["caption"], item["m_length"], (low, high)))
        tokens, count = pad_tokens(caption.tokens, int(recorded["max_text_len"]))
        framed.append((count, caption.text))
        if "joined_tokens" in item:
            yield exact(f"{label} tokens", ("_".join(tokens), count), (item["joined_tokens"], item["sent_len"]))
        motion = cut(clips, index, start, length, (case.raw("mean"), case.raw("std")))
        padded = np.zeros((int(recorded["max_motion_length"]), motion.shape[1]))
        padded[:length] = motion
        yield from case.given({f"{name}__motion_{item['item']}": padded}, F32)
        rows, classes = (x[0].numpy() for x in vocabulary.encode([tokens]))
        words = {"word": case.raw("glove")[rows], "pos": one_hot(classes)}
        yield from case.given({f"{name}__{key}_{item['item']}": value for key, value in words.items()}, 0.0)
    collated = recorded.get("collated_first_items_order")
    if collated and not any(item.get("error") for item in recorded["items"]):
        first = sorted(framed[: len(collated["captions"])], key=lambda row: -row[0])
        ours_now = [[text for _, text in first], [count for count, _ in first]]
        yield exact(f"{name} collate", ours_now, [collated["captions"], collated["sent_len"]])
