"""All files of an import: read, judged together, shaped and written clip by clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from hmu.data.captions import Caption
from hmu.data.reading import MAX_KEPT, RULES, build_entries, line_table
from hmu.errors import DataError
from hmu.motion.features import bone_offsets
from hmu.motion.mapping import JointMapping, load_mapping, packaged, stand
from hmu.motion.reference import humanml3d_offsets, offsets_from_file
from hmu.motion.skeleton import T2M
from hmu.progress import phase
from hmu.tools.importing.clips import Reader, Shaped, Shaper, Stance, Take, stance, vertical_axes
from hmu.tools.importing.members import read_members
from hmu.tools.importing.sources import Collection
from hmu.tools.importing.summary import Summary

Array = NDArray[np.float64]
SHORTEST = 40  # frames: what dataset=bvh reads
LONGEST = 196  # frames of a window: what models generate at most
R = TypeVar("R")


@dataclass
class Conversion:
    """Writes motions and texts of a collection into ``work``; a file that cannot be used costs only itself."""

    config: DictConfig
    collection: Collection
    mapping: JointMapping
    work: Path

    def __post_init__(self) -> None:
        self.fps = float(self.config.fps)
        self.summary = Summary(captions=self.collection.strays, limits=(SHORTEST, MAX_KEPT - 1))

    def run(self) -> Summary:
        """Write everything but split lists and statistics; returns what was written and what was left out."""
        config = self.config
        if config.target_skeleton not in (None, "humanml3d", "first"):
            offsets_from_file(config.target_skeleton)
        for folder in ("new_joints", "new_joint_vecs", "joints", "texts"):
            (self.work / folder).mkdir()
        takes = self._read_all()
        unit = None if config.unit == "auto" else float(config.unit)
        ready: dict[str, Stance] = {}
        for name, axis in vertical_axes(takes, config.up, self.mapping.up).items():
            try:
                ready[name] = stance(takes[name], axis, self.mapping, config.up, unit)
                self._note(name, (*takes[name].notes, *ready[name].notes))
            except DataError as error:
                self._leave_out(name, str(error))
        lines = {self.collection.ids[path]: captions for path, captions in self.collection.lines.items()}
        self._shape_all(ready, {name: self._windows(takes[name], lines[name]) for name in ready})
        self._count_read()
        return self.summary

    def _read_all(self) -> dict[str, Take]:
        """Read every file that has captions; joints go to disk, as a collection may not fit into memory."""
        others = tuple(load_mapping(name) for name in packaged())
        reader = Reader(self.mapping, others, self.fps, self.config.source_fps, self.config.first_frame)
        takes: dict[str, Take] = {}
        with phase("reading", len(self.collection.ids), "files") as done:
            for name, take in _each(reader, self._contents(done.advance), self.config.workers):
                done.advance()
                if isinstance(take, str):
                    self.summary.skipped[name] = take
                    continue
                np.save(self._raw(name), take.joints)
                takes[name] = replace(take, joints=np.empty((len(take.joints), 0, 3)))
        return takes

    def _contents(self, count: Callable[[], object]) -> Iterator[tuple[str, tuple[str, bytes]]]:
        """Id and content of the files that have captions; the others go to the summary at once."""
        skipped, known = self.summary.skipped, set[PurePosixPath]()
        for path, content in read_members(self.collection.source, ".bvh"):
            name = self.collection.ids[path]
            if path in known:
                skipped[f"{name} (again)"] = "another file of the same path was read before"
            elif not self.collection.lines.get(path):
                skipped[name] = "no caption"
            else:
                known.add(path)
                try:
                    loaded = content()
                except DataError as error:
                    skipped[name] = str(error)
                else:
                    yield name, (name, loaded)
                    continue
            count()

    def _raw(self, name: str) -> Path:
        return self.work / "joints" / f"{name}.npy"  # overwritten by the normalised joints

    def _leave_out(self, name: str, reason: str) -> None:
        self.summary.skipped[name] = reason
        self._raw(name).unlink()

    def _note(self, name: str, notes: Iterable[str]) -> None:
        for note in notes:
            self.summary.notes[note].append(name)

    def _windows(self, take: Take, lines: list[Caption]) -> list[Window]:
        """The clips of a file; times in captions count from the file's first frame, which may have been left out."""
        frames, cut = len(take.joints) - 1, take.cut
        left = [
            replace(line, start=max(line.start - cut, 0.0), end=max(line.end - cut, 0.0))
            for line in lines
            if line.end == 0.0 or line.end > cut  # an end of 0 is the clip's end
        ]
        if self.config.windows == "none":
            return [Window(0, frames, tuple(left))] if left else []
        return windows(frames, left, self.fps, self.config.stride)

    def _offsets(self, ready: Mapping[str, Stance]) -> Array | None:
        """The bones of the target skeleton ``(22, 3)``; None where every clip keeps its own."""
        target = self.config.target_skeleton
        if target is None or not ready:
            return None
        if target == "humanml3d":
            return humanml3d_offsets()
        if target != "first":
            return offsets_from_file(target)
        name, first = next(iter(ready.items()))
        return bone_offsets(stand(np.load(self._raw(name)), first.unit, first.up)[0], T2M)

    def _shape_all(self, ready: Mapping[str, Stance], cuts: Mapping[str, list[Window]]) -> None:
        facing: Any = str(self.config.facing).lower()  # YAML reads true as a truth value
        shaper = Shaper(self._offsets(ready), facing, self.fps)
        jobs = (
            (name, (np.load(self._raw(name)), ready[name], [(window.start, window.stop) for window in cut]))
            for name, cut in cuts.items()
        )
        with phase("writing", len(cuts), "files") as done:
            for name, shaped in _each(shaper, jobs, self.config.workers):
                done.advance()
                if isinstance(shaped, str):
                    self._leave_out(name, shaped)
                elif not cuts[name]:
                    self._leave_out(name, "its captions describe no part of it")
                else:
                    self.summary.clips[name] = self._write(name, shaped, cuts)

    def _write(self, name: str, shaped: Shaped, cuts: Mapping[str, list[Window]]) -> list[str]:
        """Write the clips of one file; returns their ids."""
        np.save(self._raw(name), shaped.joints.astype(np.float32))
        self._note(name, shaped.notes)
        cut = cuts[name]
        whole = len(cut) == 1 and cut[0].stop - cut[0].start == len(shaped.joints) - 1
        ids = [name] if whole else _window_ids(name, len(cut), cuts)
        for clip, window, (features, joints) in zip(ids, cut, shaped.clips, strict=True):
            np.save(self.work / "new_joints" / f"{clip}.npy", joints.astype(np.float32))
            np.save(self.work / "new_joint_vecs" / f"{clip}.npy", features.astype(np.float32))
            text = "".join(f"{line}\n" for line in window.lines)
            (self.work / "texts" / f"{clip}.txt").write_text(text, "utf-8", newline="\n")
            self.summary.lengths[clip] = len(features)
        return ids

    def _count_read(self) -> None:
        """Which clips a data set with the usual limits reads, by its own rule."""
        names = self.summary.written
        texts = [(self.work / "texts" / f"{name}.txt").read_bytes() for name in names]
        frames = np.array(list(self.summary.lengths.values()), dtype=np.int64)
        entries = build_entries(line_table(texts), frames, RULES["clean"], fps=self.fps, min_frames=SHORTEST)
        self.summary.read = {names[clip] for clip in entries.clip.tolist()}


def _window_ids(name: str, count: int, taken: Iterable[str]) -> list[str]:
    """``take_w01``, ``take_w02``, …: sorted as they follow each other, and nobody else's."""
    stem = f"{name}_w"
    while any(other.startswith(stem) for other in taken):
        stem += "w"
    return [f"{stem}{k:0{max(2, len(str(count)))}d}" for k in range(1, count + 1)]


def _each(
    work: Callable[..., R], jobs: Iterable[tuple[str, tuple[object, ...]]], workers: int
) -> Iterator[tuple[str, R | str]]:
    """Results, or why there is none, in order; with several workers only a few jobs are in memory at a time."""
    if workers == 1:
        for name, job in jobs:
            yield name, attempt(work, name, job)
        return
    with ProcessPoolExecutor(workers) as pool:
        waiting: deque[tuple[str, Future[R | str]]] = deque()
        for name, job in jobs:
            waiting.append((name, pool.submit(attempt, work, name, job)))
            if len(waiting) > 4 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def attempt(work: Callable[..., R], name: str, job: tuple[object, ...]) -> R | str:
    """What ``work`` makes of a job, or the reason why nothing can be used."""
    try:
        return work(*job)
    except DataError as error:
        return str(error).removeprefix(f"{name}.bvh: ")


# -- long takes, cut into clips that a data set reads ------------------------------------------------------------------
@dataclass(frozen=True)
class Window:
    """Frames ``[start, stop)`` of a take, with its captions."""

    start: int
    stop: int
    lines: tuple[Caption, ...]


def windows(frames: int, lines: Sequence[Caption], fps: float, stride: int | None = None) -> list[Window]:
    """The clips of a take: itself where it is short enough to be read, else windows of at most 196 frames.

    A caption with time tags describes its part of the take: that part becomes a clip of its own (windows, where it is
    too long as well), with those captions alone. Captions without tags describe the whole take: all windows get them.
    ``stride``: frames from one window's start to the next; None = as few, equally long, as hold all once.
    """
    if frames < MAX_KEPT:
        return [Window(0, frames, tuple(lines))] if lines else []
    parts: dict[tuple[int, int], list[Caption]] = {}
    for line in lines:
        stop = frames if line.end <= 0 else min(int(fps * line.end), frames)
        start = min(max(int(fps * line.start), 0), stop)
        parts.setdefault((start, stop), []).append(replace(line, start=0.0, end=0.0))
    return [
        Window(start, stop, tuple(described))
        for (first, last), described in parts.items()
        if last > first
        for start, stop in _spans(first, last, stride)
    ]


def _spans(first: int, last: int, stride: int | None) -> list[tuple[int, int]]:
    length = last - first
    if length < MAX_KEPT:
        return [(first, last)]
    if stride is None:
        count = -(-length // LONGEST)
        edges = [first + round(length * k / count) for k in range(count + 1)]
        return list(pairwise(edges))
    count = -(-(length - LONGEST) // stride) + 1
    starts = np.minimum(first + stride * np.arange(count), last - LONGEST).tolist()
    return [(start, start + LONGEST) for start in starts]
