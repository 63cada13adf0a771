"""From caption lines and clip lengths to training entries, by our rule or by the published ones.

Three published readers of this format disagree with each other; all are kept here as data so that published numbers can
be reproduced, and the default, ``clean``, has none of their accidents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmu.data.captions import Caption
from hmu.errors import ConfigError

LINE = np.dtype(
    [("clip", "i4"), ("number", "i4"), ("begin", "i8"), ("stop", "i8"), ("start", "f8"), ("end", "f8"), ("state", "i1")]
)
GOOD, BLANK, FAULTY = 0, 1, 2
MAX_KEPT = 200  # clips of 200 frames and more are never used; 197..199 are kept and cut to 196 (published rule)


@dataclass(frozen=True)
class Rule:
    """How caption lines become entries.

    Attributes:
        per_line: every line is an entry of its own; otherwise the lines of the whole clip share one.
        open_end: a missing end tag means the clip's end; otherwise the slice is empty and dropped.
        faulty: what a faulty line costs: itself (``line``), the rest of its file (``rest``), or the whole-clip entry
            as well (``clip``).
        by_length: entries are sorted by length (stable).
        tag_fps: frames per second of the time tags; None = the data set's.
        exact_tokens: split tokens on every single space, as published (empty tokens stay).
    """

    per_line: bool
    open_end: bool
    faulty: str
    by_length: bool
    tag_fps: float | None
    exact_tokens: bool


RULES: dict[str, Rule] = {
    # ours: a faulty line is reported and costs only itself
    "clean": Rule(per_line=False, open_end=True, faulty="line", by_length=False, tag_fps=None, exact_tokens=False),
    # Guo et al. 2022, evaluation data of text-to-motion and everybody after
    "original": Rule(per_line=False, open_end=False, faulty="clip", by_length=True, tag_fps=20.0, exact_tokens=True),
    # HMU (momask-codes fork), training data; differs from "original" in order and in published_min_frames
    "hmu_train": Rule(per_line=False, open_end=False, faulty="clip", by_length=False, tag_fps=20.0, exact_tokens=True),
    # HMU, evaluation data: one entry per line, about three times as many pairs
    "hmu_eval": Rule(per_line=True, open_end=True, faulty="rest", by_length=True, tag_fps=20.0, exact_tokens=True),
}


def reading_rule(name: str) -> Rule:
    """The rule called ``name``; ConfigError naming the known ones."""
    if name not in RULES:
        raise ConfigError(f"rule is '{name}'; expected one of {', '.join(RULES)}")
    return RULES[name]


def line_table(texts: Sequence[bytes]) -> NDArray[np.void]:
    """Where each caption line lies in the concatenated ``texts``, with its tags ``(lines,)``, dtype :data:`LINE`."""
    rows: list[tuple[int, int, int, int, float, float, int]] = []
    offset = 0
    for clip, text in enumerate(texts):
        begin = offset
        pieces = text.split(b"\n")
        if pieces[-1] == b"":
            pieces.pop()
        for number, raw in enumerate(pieces):
            start = end = 0.0
            try:
                caption = Caption.parse(raw.decode("utf-8", errors="replace"))
                start, end, state = caption.start, caption.end, GOOD
            except ValueError:
                state = FAULTY if raw.strip() else BLANK
            rows.append((clip, number, begin, begin + len(raw), start, end, state))
            begin += len(raw) + 1
        offset += len(text)
    return np.array(rows, dtype=LINE)


def line_problems(lines: NDArray[np.void]) -> Iterator[tuple[str, np.void]]:
    """What is wrong with caption lines: the kind of trouble, and the row of :func:`line_table`.

    Times that no frame lies between (reversed, negative, infinite) are listed too: no entry is ever made of them.
    """
    start, end = lines["start"], lines["end"]
    impossible = ~(np.isfinite(start) & np.isfinite(end)) | (start < 0) | (end < 0) | ((end != 0) & (end <= start))
    for row in lines[(lines["state"] == FAULTY) | ((lines["state"] == GOOD) & impossible)]:
        yield ("faulty caption line" if row["state"] == FAULTY else "caption line with impossible times"), row


@dataclass(frozen=True)
class EntryTable:
    """Entries as plain arrays (cheap to share with worker processes), each ``(entries,)`` but ``lines``.

    Attributes:
        start, stop: frames within the clip.
        first, count: the entry's lines are ``lines[first : first + count]``.
        lines: rows of the line table.
        number: line number of the entry's first line in its file, -1 for a whole-clip entry.
    """

    clip: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    lines: NDArray[np.int64]
    number: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.clip)

    def take(self, rows: NDArray[np.int64]) -> EntryTable:
        """The entries ``rows`` ``(n,)``, in that order (their lines stay shared)."""
        own = {name: column[rows] for name, column in vars(self).items() if name != "lines"}
        return EntryTable(**own, lines=self.lines)


def _cut(rule: Rule, start: float, end: float, frames: int, fps: float) -> tuple[int, int] | None:
    """Frames ``[a, b)`` of one line; None where the tags cannot be turned into frames."""
    if not (math.isfinite(start) and math.isfinite(end)):
        return None
    if rule.open_end:
        start, end = max(start, 0.0), end if end > 0 else math.inf
    a, b = int(fps * start), (frames if math.isinf(end) else int(fps * end))
    low, high, _ = slice(a, b).indices(frames)
    return low, max(low, high)


_Line = tuple[int, float, float, int]  # number, start, end, state


def _clip_entries(
    rule: Rule, lines: Sequence[_Line], first: int, frames: int, fps: float, keep: range
) -> list[tuple[int, int, int, list[int]]]:
    """Entries ``(start, stop, number, line rows)`` of one clip; ``lines`` its rows, of which ``first`` is the first."""
    entries: list[tuple[int, int, int, list[int]]] = []
    whole: list[int] = []
    broken = False
    for row, (number, start, end, state) in enumerate(lines, start=first):
        if state != GOOD:
            if rule.faulty == "line":
                continue
            broken = rule.faulty == "clip"
            break
        if start == end == 0.0 and not rule.per_line:
            whole.append(row)
            continue
        cut = _cut(rule, start, end, frames, fps)
        if cut is not None and cut[1] - cut[0] in keep:
            entries.append((*cut, number, [row]))
    if whole and not broken:
        entries.append((0, frames, -1, whole))
    return entries


def build_entries(
    lines: NDArray[np.void], frames: NDArray[np.int64], rule: Rule, *, fps: float, min_frames: int
) -> EntryTable:
    """Entries of all clips: both the clip and the cut must have ``min_frames <= n < MAX_KEPT`` frames.

    Args:
        lines: line table of all clips ``(lines,)``, sorted by clip.
        frames: frames per clip ``(clips,)``.
        fps: frames per second of the data (time tags are in seconds).
    """
    keep = range(min_frames, MAX_KEPT)
    tag_fps = rule.tag_fps or fps
    bounds = np.searchsorted(lines["clip"], np.arange(len(frames) + 1)).tolist()
    rows_of_lines = list(zip(*(lines[name].tolist() for name in ("number", "start", "end", "state")), strict=True))
    columns: list[tuple[int, int, int, int, int, int]] = []
    flat: list[int] = []
    for clip, total in enumerate(frames.tolist()):
        if total not in keep:
            continue
        low, high = bounds[clip], bounds[clip + 1]
        for a, b, line, rows in _clip_entries(rule, rows_of_lines[low:high], low, total, tag_fps, keep):
            columns.append((clip, a, b, len(flat), len(rows), line))
            flat.extend(rows)
    clips, start, stop, first, count, number = np.array(columns, dtype=np.int64).reshape(-1, 6).T
    entries = EntryTable(clips, start, stop, first, count, np.array(flat, dtype=np.int64), number)
    return entries.take(np.argsort(entries.stop - entries.start, kind="stable")) if rule.by_length else entries
