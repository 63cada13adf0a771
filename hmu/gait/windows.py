"""Which windows of a trial may be used, and a table of what was dropped and why."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.escaping import csv_cell
from hmu.gait.columns import WINDOW
from hmu.gait.preprocess import runs
from hmu.gait.standard import standard
from hmu.gait.trial import Trial, read_trial
from hmu.progress import phase

log = logging.getLogger(__name__)
SHOWN = 5  # how many faulty files a message lists


@dataclass(frozen=True)
class Reading:
    """How a folder of trials is read; part of its identity in the cache.

    Attributes:
        window: frames that a usable run must have.
        strict: the first faulty trial is an error; otherwise faulty ones are skipped and said in one summary.
        root: see :func:`hmu.gait.trial.read_trial`. treadmill: see :func:`hmu.gait.preprocess.belt_speed`.
        shares: of people in train, val and test.
    """

    window: int
    strict: bool
    root: str
    treadmill: bool | None
    shares: tuple[float, ...]


class Dropped(NamedTuple):
    """Frames ``start`` to ``stop`` (100 Hz) of a trial that no window can use, and the reason in words."""

    trial: str
    start: int
    stop: int
    reason: str


@dataclass(frozen=True)
class Run:
    """Consecutive clean frames of one trial, long enough for a window.

    Attributes:
        trial: at 100 Hz. start, stop: frames in it. number: which run of the trial it is.
    """

    trial: Trial
    start: int
    stop: int
    number: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def states(self) -> NDArray[np.float64]:
        """``(frames, 63)``."""
        return self.trial.states[self.start : self.stop]

    @property
    def id(self) -> str:
        """Trial name with ``__`` for ``/``, and the number of the run: a plain file name."""
        return f"{self.trial.name.replace('/', '__')}__{self.number}"


def clean_runs(trial: Trial, window: int = WINDOW) -> tuple[list[Run], list[Dropped]]:
    """The runs of a trial (at 100 Hz) that hold a window, and what is left over."""
    usable: list[Run] = []
    dropped = [Dropped(trial.name, a, b, "marked as missing") for a, b in runs(trial.missing)]
    for start, stop in runs(~trial.missing):
        if stop - start < window:
            dropped.append(Dropped(trial.name, start, stop, f"clean, but shorter than a window of {window} frames"))
        else:
            usable.append(Run(trial, start, stop, len(usable)))
    return usable, sorted(dropped, key=lambda d: d.start)


@dataclass(frozen=True)
class Tree:
    """A folder of trials, read.

    Attributes:
        runs: what can be used, in order of file names. dropped: what cannot.
        notes: what was done to trials, and to how many.
        refused: files that could not be read, with the reason.
    """

    runs: tuple[Run, ...]
    dropped: tuple[Dropped, ...]
    notes: Counter[str]
    refused: dict[str, str]

    def table(self) -> str:
        """CSV of everything that was dropped and why: ``trial, start, stop, frames, reason``."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["trial", "start", "stop", "frames", "reason"])
        for name, reason in sorted(self.refused.items()):
            writer.writerow([csv_cell(name), "", "", "", csv_cell(reason)])
        for d in self.dropped:
            writer.writerow([csv_cell(d.trial), d.start, d.stop, d.stop - d.start, csv_cell(d.reason)])
        return buffer.getvalue()


def trial_files(folder: Path) -> list[Path]:
    """Every ``.npz`` below ``folder``, in any nesting, sorted.

    Raises:
        DataError: for a missing folder, or one without trials.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected a tree of trials (.npz); set dataset.trials")
    files = sorted(path for path in folder.rglob("*.npz") if path.is_file())
    if not files:
        raise DataError(f"{folder}: holds no trial (.npz) in any sub-folder; set dataset.trials to another folder")
    return files


def read_tree(folder: Path, reading: Reading) -> Tree:
    """Read, convert and cut all trials below ``folder``.

    Raises:
        DataError: a faulty trial (``strict``), or no usable window at all.
    """
    usable: list[Run] = []
    dropped: list[Dropped] = []
    notes: Counter[str] = Counter()
    refused: dict[str, str] = {}
    files = trial_files(folder)
    with phase("reading trials", len(files), "trials") as done:
        for path in files:
            done.advance()
            try:
                trial, steps = standard(read_trial(path, folder, reading.root), treadmill=reading.treadmill)
            except DataError as error:
                if reading.strict:
                    raise
                refused[path.relative_to(folder).as_posix()] = str(error)
                continue
            notes.update(steps)
            clean, rest = clean_runs(trial, reading.window)
            usable.extend(clean)
            dropped.extend(rest)
    tree = Tree(tuple(usable), tuple(dropped), notes, refused)
    _report(folder, files, tree, reading.window)
    return tree


def _report(folder: Path, files: Sequence[Path], tree: Tree, window: int) -> None:
    if tree.refused:
        more = f" and {len(tree.refused) - SHOWN} more" if len(tree.refused) > SHOWN else ""
        listed = "; ".join(list(tree.refused.values())[:SHOWN])
        log.warning("%d of %d trials skipped: %s%s", len(tree.refused), len(files), listed, more)
    for what, count in tree.notes.items():
        log.info("%d of %d trials: %s", count, len(files), what)
    if not tree.runs:
        reasons = ", ".join(dict.fromkeys(d.reason for d in tree.dropped)) or "none could be read"
        raise DataError(f"{folder}: {len(files)} trials and no usable window of {window} frames ({reasons})")
    ids = [run.id for run in tree.runs]
    if len(set(ids)) != len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise DataError(f"{folder}: two trials would both be called '{twice}'; rename a file or folder")
    lost = sum(d.stop - d.start for d in tree.dropped)
    used = sum(map(len, tree.runs))
    log.info(
        "%d runs of clean frames in %d trials; %d of %d frames dropped", len(tree.runs), len(files), lost, lost + used
    )
