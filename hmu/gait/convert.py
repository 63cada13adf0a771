"""Trials into the files that :class:`hmu.data.dataset.DatasetSource` reads: states, labels, splits, statistics."""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np

from hmu.documents import write_bytes, write_json, write_text
from hmu.gait.columns import FPS
from hmu.gait.windows import Reading, Run, read_tree

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")
MOTION, TEXT, TABLE, PEOPLE = "states", "labels", "dropped.csv", "people.json"
FEWEST = 3  # people (or trials) that can be divided into three splits
UNLABELLED = "unlabelled"


def convert_tree(folder: Path, *, trials: Path | str, reading: Reading) -> None:
    """Write ``folder`` from the trials below ``trials``.

    Raises:
        DataError: faulty trials (``strict``), or no usable window.
    """
    tree = read_tree(Path(trials), reading)
    for run in tree.runs:
        write_bytes(folder / MOTION / f"{run.id}.npy", _npy(run.states.astype(np.float32)))
        write_text(folder / TEXT / f"{run.id}.txt", caption(run.trial.label))
    divided = divide(tree.runs, reading.shares)
    for split, runs in divided.items():
        write_text(folder / f"{split}.txt", "".join(f"{run.id}\n" for run in runs))
    frames = np.concatenate([run.states for run in divided["train"]])
    write_bytes(folder / "Mean.npy", _npy(frames.mean(0).astype(np.float32)))
    write_bytes(folder / "Std.npy", _npy(np.maximum(frames.std(0), 1e-8).astype(np.float32)))
    write_json(folder / PEOPLE, {run.id: _facts(run) for run in tree.runs})
    write_text(folder / TABLE, tree.table())
    frames_of: Counter[str] = Counter()
    for run in tree.runs:
        frames_of[run.trial.label or UNLABELLED] += len(run)
    seconds = ", ".join(f"{label} {count / FPS:.0f} s" for label, count in frames_of.most_common())
    log.info("gait trials: %s; what was dropped and why is in %s beside them", seconds, TABLE)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _facts(run: Run) -> dict[str, object]:
    facts = {key: getattr(run.trial, key) for key in ("subject", "label", "height", "mass")}
    return facts | {"trial": run.trial.name, "start": run.start}


def caption(label: str) -> str:
    """The caption file of a label: one line in HumanML3D's layout."""
    words = (label or UNLABELLED).replace("_", " ").replace("#", " ").split()
    return f"{' '.join(words)}#{' '.join(f'{word}/NOUN' for word in words)}#0.0#0.0\n"


def divide(runs: Sequence[Run], shares: Sequence[float]) -> dict[str, list[Run]]:
    """Runs by split: people are divided, or trials where there are fewer than three people.

    Who goes where depends on the names alone, so that adding a person moves nobody else into another split.
    Fewer than three trials all go into training.
    """
    people = {run.trial.subject for run in runs}
    unit = attrgetter("trial.subject" if len(people) >= FEWEST else "trial.name")
    units = sorted({unit(run) for run in runs}, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(units) < FEWEST:
        log.warning("%d trials of %d people cannot be divided: all are training data", len(units), len(people))
        return {"train": list(runs), "val": [], "test": []}
    if len(people) < FEWEST:
        log.warning("%d people cannot be divided into training and test data: their trials are", len(people))
    bounds = _bounds(len(units), shares)
    split_of = {name: split for split, (a, b) in zip(SPLITS, bounds, strict=True) for name in units[a:b]}
    return {split: [run for run in runs if split_of[unit(run)] == split] for split in SPLITS}


def _bounds(count: int, shares: Sequence[float]) -> list[tuple[int, int]]:
    """Where each split begins and ends in a list of ``count``; a share above 0 gets at least one."""
    exact = np.array(shares, dtype=np.float64) / sum(shares) * count
    sizes = np.floor(exact).astype(int)
    sizes[(sizes == 0) & (exact > 0)] = 1
    sizes[int(sizes.argmax())] += count - int(sizes.sum())
    ends = np.cumsum(sizes)
    return [(int(b - n), int(b)) for b, n in zip(ends, sizes, strict=True)]
