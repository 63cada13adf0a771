"""What a data set holds that is never read, by kind and in one line; and whether its statistics can divide anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.checkpoints.arrays import load_array
from hmu.data.files import LARGEST
from hmu.data.packed import Pack
from hmu.data.reading import GOOD, MAX_KEPT
from hmu.errors import ConfigError, DataError, shown

SHOWN = 4  #: ids of one kind of trouble that a message lists
SMALLEST = 1e-6  #: a standard deviation below divides numbers into nonsense

Kinds = Mapping[str, Sequence[str]]  #: ids by kind of trouble


def counted(kinds: Kinds) -> str:
    """``no motion file (5): a, b, c, d and 1 more; …``: bounded, whatever is wrong with how many clips."""
    most = SHOWN if len(kinds) < SHOWN else 2
    return "; ".join(f"{kind} ({len(ids)}): {few(ids, most)}" for kind, ids in kinds.items())


def few(ids: Sequence[str], most: int = SHOWN) -> str:
    """``a, b, c, d and 1 more``."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(shown(clip, 30) for clip in ids[:most]) + more


def by_kind(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """From the reason of every id to the ids of every reason."""
    kinds: dict[str, list[str]] = {}
    for clip, kind in reasons.items():
        kinds.setdefault(kind, []).append(clip)
    return kinds


def check_limits(
    name: str, splits: Sequence[str], fps: float, features: int, frames: tuple[int, int, int], longest: int | None
) -> None:
    """Refuse a name that no folder can have, no splits, and numbers that leave nothing or promise what is never read.

    ``frames`` are unit length, shortest and longest clip; beyond ``longest`` nothing is read (None = no such limit).
    """
    unit, low, high = frames
    given = f"unit_length={unit}, min_frames={low}, max_frames={high}"
    if not 1 <= unit <= low <= high:
        raise ConfigError(f"data set '{name}': {given}; expected 1 <= unit_length <= min_frames <= max_frames")
    if longest is not None and high > longest:
        raise ConfigError(
            f"data set '{name}': {given}; expected max_frames of at most {longest}: clips of {longest + 1} frames and "
            "more are never used (published rule); cut long takes into windows"
        )
    if not 0 < fps <= 1000 or features < 1:
        raise ConfigError(
            f"data set '{shown(name)}': fps={fps}, features={features}: expected 0 < fps <= 1000, 1 or more"
        )
    if re.search(r"[\x00-\x1f/\\]", name) or name in ("", ".", "..") or not splits:
        raise ConfigError(
            f"dataset.name={shown(name)}, dataset.splits={list(splits)}: expected a name that a folder can have "
            "(no / or \\), and at least one split"
        )


def unused(pack: Pack, used: NDArray[np.int64], min_frames: int) -> dict[str, list[str]]:
    """Sound clips of which no entry is ever made, by kind; those without a usable caption are listed elsewhere.

    ``used`` are the numbers of those that have an entry ``(used,)``.
    """
    captioned = set(pack.lines["clip"][pack.lines["state"] == GOOD].tolist())
    reasons: dict[str, str] = {}
    for number in sorted(captioned - set(used.tolist())):
        length = int(pack.offsets[number + 1] - pack.offsets[number])
        if length < min_frames:
            reasons[pack.ids[number]] = f"shorter than {min_frames} frames"
        elif length >= MAX_KEPT:
            reasons[pack.ids[number]] = f"{MAX_KEPT} frames or longer"
        else:
            reasons[pack.ids[number]] = f"no caption for {min_frames} to {MAX_KEPT - 1} frames in one piece"
    return by_kind(reasons)


def read_statistic(path: Path, features: int, *, divides: bool) -> Tensor:
    """``Mean.npy`` or, where it ``divides``, ``Std.npy``: float32 ``(features,)``; DataError for what cannot be one."""
    value = load_array(path)
    if value.dtype.kind not in "fiu" or value.shape != (features,):
        what: Any = value.shape if value.dtype.kind in "fiu" else "no numbers"
        raise DataError(f"{path} has shape {what}; expected ({features},): is it of another data set?")
    wrong = ~np.isfinite(value) | (np.abs(value) > LARGEST)
    if divides:
        wrong |= value < SMALLEST
    if wrong.any():
        column = int(np.argmax(wrong))
        expected = f"at least {SMALLEST:g}" if divides else "finite numbers"
        raise DataError(
            f"{path}: column {column} of {features} is {value[column]:.3g} ({int(wrong.sum())} such columns); expected "
            f"{expected}; compute it again, or copy it from where the data came from"
        )
    return torch.from_numpy(value.astype(np.float32))
