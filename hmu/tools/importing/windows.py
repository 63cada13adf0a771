"""Long takes cut into clips that a data set reads: where the windows lie and which captions each one gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hmu.data.reading import MAX_KEPT
from hmu.tools.importing.sources import TextLine

LONGEST = 196  # frames of a window: what models generate at most


@dataclass(frozen=True)
class Window:
    """Frames ``[start, stop)`` of a take, with its captions."""

    start: int
    stop: int
    lines: tuple[TextLine, ...]


def windows(frames: int, lines: Sequence[TextLine], fps: float, stride: int | None = None) -> list[Window]:
    """The clips of a take: itself where it is short enough to be read, else windows of at most 196 frames.

    A caption with time tags describes its part of the take: that part becomes a clip of its own (windows, where it is
    too long as well), with those captions alone. Captions without tags describe the whole take, so windows over all of
    it get them.

    Args:
        frames: frames of the take.
        lines: its captions; times count from its first frame.
        fps: frames per second of the take.
        stride: frames from the start of a window to the next; None = as few windows of equal length as hold all
            frames once.
    """
    if frames < MAX_KEPT:
        return [Window(0, frames, tuple(lines))] if lines else []
    parts: dict[tuple[int, int], list[TextLine]] = {}
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
