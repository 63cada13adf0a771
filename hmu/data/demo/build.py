"""Writing the demo set as a HumanML3D folder."""

from __future__ import annotations

import csv
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.data.demo.body import retarget, standard, vary
from hmu.data.demo.grammar import captions
from hmu.data.demo.motion import perform, sample_plan
from hmu.data.demo.specs import ACTIONS, Spec
from hmu.errors import DataError
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import joints_to_features
from hmu.motion.skeleton import T2M
from hmu.motion.statistics import motion_statistics
from hmu.progress import phase

MIN_FRAMES, MAX_FRAMES = 40, 120  # of features; short clips keep training on a CPU quick
_CLIPS_PER_PROCESS = 250  # fewer are made here: starting a process takes as long
SHARES = {"val": 0.05, "test": 0.15}
_LISTS = {"train": ("train",), "val": ("val",), "test": ("test",), "train_val": ("train", "val")}
_LISTS["all"] = ("train", "val", "test")
_COLUMNS = ("id", "split", "main", "actions", "side", "speed", "amplitude", "direction", "count", "height", "frames")


@dataclass(frozen=True)
class _Entry:
    name: str
    action: str
    split: str


def generate(root: Path, *, seed: int = 0, clips: int) -> None:
    """Write the demo set in HumanML3D's layout; the same arguments give the same bytes.

    Clips: 263 columns at 20 fps, 40-120 frames, about one in five with two actions; three captions each. Performers
    differ in height and proportions while they move, then every clip is retargeted to one skeleton, as HumanML3D does:
    bone lengths carry no information about the action, and a network need not learn that they stay constant.
    Large sets are made by several processes; each clip has its own random numbers, so their count changes nothing.
    Mean and Std come from the training clips. ``labels.csv`` holds the ground truth (several values joined by ``;``
    in two-action clips). The folder appears complete or not at all.

    Raises:
        DataError: fewer than three clips per action, or ``root`` holds something already.
    """
    root = Path(root)
    if clips < 3 * len(ACTIONS):
        raise DataError(f"the demo data set needs at least {3 * len(ACTIONS)} clips (3 per action), got {clips}")
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root} is not empty: give a new folder for the demo data set, or delete it")
    root.parent.mkdir(parents=True, exist_ok=True)
    building = root.parent / f".{root.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        _write(building, seed, clips)
        if root.exists():
            root.rmdir()
        os.replace(building, root)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def make_clip(seed: int, number: int, action: str) -> tuple[NDArray[np.float32], list[str], tuple[Spec, ...], float]:
    """Clip ``number`` of a seed: features ``(frames, 263)`` float32, caption lines, specs, relative body height."""
    rng = np.random.default_rng([seed, number])
    specs, track = sample_plan(action, rng, MAX_FRAMES + 1)
    body = vary(rng)
    joints = perform(track, body, rng, least=MIN_FRAMES + 1, most=MAX_FRAMES + 1)
    rows = joints_to_features(retarget(joints, body, standard()), T2M, facing="true")
    return rows.astype(np.float32), captions(specs, rng), specs, body.height


def _entries(seed: int, clips: int) -> list[_Entry]:
    """Ids, main actions (evenly many of each) and splits (the same shares of each action)."""
    rng = np.random.default_rng([seed, clips, 263])
    actions = [ACTIONS[index % len(ACTIONS)] for index in rng.permutation(clips)]
    splits = ["train"] * clips
    for action in ACTIONS:
        members = [index for index, name in enumerate(actions) if name == action]
        order = [members[i] for i in rng.permutation(len(members))]
        start = 0
        for split, share in SHARES.items():
            number = max(1, round(share * len(members)))
            for index in order[start : start + number]:
                splits[index] = split
            start += number
    return [_Entry(f"{i:06d}", action, split) for i, (action, split) in enumerate(zip(actions, splits, strict=True))]


def _write(folder: Path, seed: int, clips: int) -> None:
    entries = _entries(seed, clips)
    for name in ("new_joint_vecs", "new_joints", "texts"):
        (folder / name).mkdir(parents=True)
    numbers, write = range(clips), partial(_write_clip, folder, seed)
    workers = min(_cores(), clips // _CLIPS_PER_PROCESS)
    rows = []
    with phase("demo data", clips, "clips") as done, ExitStack() as stack:
        each: Callable[..., Iterator[tuple[str, ...]]] = map
        if workers > 1:
            pool = stack.enter_context(ProcessPoolExecutor(workers))
            each = partial(pool.map, chunksize=50)
        for row in each(write, numbers, entries):
            rows.append(row)
            done.advance()
    for name, splits in _LISTS.items():
        _text(folder / f"{name}.txt", [entry.name for entry in entries if entry.split in splits])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *rows])
    training = (e.name for e in entries if e.split == "train")
    mean, std = motion_statistics(np.load(folder / "new_joint_vecs" / f"{name}.npy") for name in training)
    np.save(folder / "Mean.npy", mean.astype(np.float32))
    np.save(folder / "Std.npy", std.astype(np.float32))


def _write_clip(folder: Path, seed: int, number: int, entry: _Entry) -> tuple[str, ...]:
    """Write the three files of one clip; its row of ``labels.csv``."""
    features, lines, specs, height = make_clip(seed, number, entry.action)
    np.save(folder / "new_joint_vecs" / f"{entry.name}.npy", features)
    np.save(folder / "new_joints" / f"{entry.name}.npy", features_to_joints(features, T2M))
    _text(folder / "texts" / f"{entry.name}.txt", lines)
    return _label(entry, specs, height, len(features))


def _cores() -> int:
    """Cores this process may use (a container's share, where the system tells)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _label(entry: _Entry, specs: Sequence[Spec], height: float, frames: int) -> tuple[str, ...]:
    columns = (
        ";".join(str(getattr(spec, field)) for spec in specs)
        for field in ("action", "side", "speed", "amplitude", "direction", "count")
    )
    return (entry.name, entry.split, entry.action, *columns, f"{height:.3f}", str(frames))


def _text(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
