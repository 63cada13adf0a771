"""A folder of gait trials as a data set: what ``configs/dataset/gait*.yaml`` instantiates."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.data.generated import recipe_key
from hmu.data.reading import EntryTable
from hmu.errors import ConfigError, DataError
from hmu.gait.columns import FEATURES, FPS
from hmu.gait.convert import MOTION, PEOPLE, SPLITS, TEXT, convert_tree
from hmu.gait.representation import GAIT
from hmu.gait.windows import Reading, trial_files

log = logging.getLogger(__name__)


def key_of(folder: Path | None) -> str:
    """Identity of a folder of trials: names, sizes and times of modification of its files; empty where it is absent."""
    if folder is None or not folder.is_dir():
        return ""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in trial_files(folder):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder).as_posix()}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _misfit(trials: object, window: int, stride: int, shares: Sequence[float], root: str) -> str | None:
    if trials is None:
        return "dataset.trials is empty; give the folder that holds the .npz trials"
    if window < 20 or stride < 1:
        return f"window={window} and stride={stride}: expected at least 20 and 1"
    if len(shares) != len(SPLITS) or min(shares) < 0 or sum(shares) <= 0:
        return f"shares={list(shares)}: expected one share each for {', '.join(SPLITS)}"
    return None if root in ("auto", "velocity", "position") else f"root={root}: expected auto, velocity or position"


class GaitSource(DatasetSource):
    """Trials, converted once into a cache and cut into overlapping windows of clean frames.

    The label of a trial (its last folder) is the caption of its windows: concepts are found there. Entries are windows,
    named ``<run>#<first frame>``. Where there are three people or more, splits never divide one person's windows.

    Args:
        trials: the folder of ``.npz`` trials, in any nesting; None = made by ``generator``, called with a folder.
        window: frames of a window at 100 Hz. stride: frames between the beginnings of two windows.
        shares: of people in train, val and test.
        root: what the root columns of the files hold: ``auto``, ``velocity`` or ``position``.
        treadmill: whether people walk on a moving belt; None = found out from their stance feet.
        strict: a faulty trial is an error; otherwise it is skipped and said in a summary.
        name, cache_dir, requirements: as of every data set.

    Raises:
        ConfigError: an impossible value.
    """

    longest: ClassVar[int | None] = None
    measured_by: ClassVar[str] = "gait"

    def __init__(
        self,
        name: str,
        trials: str | Path | None = None,
        *,
        cache_dir: str | Path,
        window: int,
        stride: int,
        shares: Sequence[float],
        root: str,
        strict: bool,
        treadmill: bool | None = None,
        generator: Callable[[Path], object] | None = None,
        requirements: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if wrong := _misfit(trials or generator, window, stride, shares, root):
            raise ConfigError(f"data set '{name}': {wrong}")
        self.trials = None if trials is None else Path(trials)
        self.stride, self._make = stride, generator
        self.reading = Reading(window, strict, root, treadmill, tuple(float(share) for share in shares))
        key = key_of(self.trials) if self.trials is not None else recipe_key(generator)
        super().__init__(
            name,
            fps=FPS,
            features=FEATURES,
            min_frames=window,
            max_frames=window,
            unit_length=1,
            cache_dir=cache_dir,
            generator=functools.partial(convert_tree, trials=key, reading=self.reading),  # names the folder
            motion_dir=MOTION,
            text_dir=TEXT,
            splits=SPLITS,
            rule="clean",
            strict=strict,
            requirements=requirements,
            representation=GAIT,
        )
        self.generator = self._fill  # what fills it

    def _fill(self, folder: Path) -> None:
        """Convert the trials (made first where none are given) into ``folder``."""
        trials = self.trials
        if trials is None:
            trials = folder / "trials"
            assert self._make is not None  # checked on construction
            self._make(trials)
        convert_tree(folder, trials=trials, reading=self.reading)

    def _ensure_root(self) -> None:
        if self.trials is not None and not self.root.is_dir():
            trial_files(self.trials)  # says so in one line where the folder is wrong
        super()._ensure_root()

    @cached_property
    def _clips(self) -> MotionClips:
        """All windows of all runs, in the order of the files."""
        frames = np.diff(self._packed.offsets)
        counts = np.maximum((frames - self.max_frames) // self.stride + 1, 0)
        clip = np.repeat(np.arange(len(frames)), counts)
        number = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = number * self.stride
        first = np.searchsorted(self._packed.lines["clip"], clip)
        lines = np.arange(len(self._packed.lines))
        table = EntryTable(clip, start, start + self.max_frames, first, np.ones_like(clip), lines, start)
        return MotionClips(self._packed, table, self.unit_length, self.max_frames, self.rule.exact_tokens)

    @cached_property
    def people(self) -> dict[str, dict[str, Any]]:
        """By run: ``subject``, ``label``, ``height`` (metres), ``mass`` (kg), ``trial`` and first frame ``start``.

        Raises:
            DataError: when the converted folder was damaged.
        """
        self._ensure_root()
        try:
            return dict(json.loads((self.root / PEOPLE).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.root / PEOPLE}: cannot be read ({error}); delete {self.root} to convert again"
            ) from error

    def heights(self, clips: MotionClips) -> Tensor:
        """Body heights in metres of the entries of ``clips`` ``(entries,)``."""
        return torch.tensor([self.people[name]["height"] for name in clips.clip_ids])

    def labels(self, clips: MotionClips) -> list[str]:
        """The label of every entry of ``clips``."""
        return [str(self.people[name]["label"]) for name in clips.clip_ids]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all content and of how it is cut."""
        return hashlib.sha256(f"{super().fingerprint}|{self.stride}".encode()).hexdigest()
