"""OpenSim's tables (``.mot``, ``.sto``): a header in one of two dialects, then rows of numbers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.documents import read_text, write_text
from hmu.errors import DataError, shown

log = logging.getLogger(__name__)
HINT = (
    "If the header above contains a line with 'inDegrees', this indicates whether rotational values are in degrees "
    "(yes) or radians (no)."
)
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_NAN = re.compile(r"[-+]?(nan|1\.#(ind|qnan|snan))(\(.*\))?", re.IGNORECASE)  # as C libraries write it


@dataclass(frozen=True)
class Table:
    """A motion over time.

    Attributes:
        names: columns without ``time``; of a path of states (``/jointset/hip_r/hip_flexion_r/value``) the coordinate.
        time: seconds ``(rows,)``. values: ``(rows, columns)`` as in the file, NaN only where it was asked for.
        lines: where each row stands in the file ``(rows,)``, from 1.
        degrees: whether angles are in degrees; None where the header does not say.
        path: where it came from.
    """

    names: tuple[str, ...]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    degrees: bool | None
    path: Path
    lines: NDArray[np.int64]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values[:, self.names.index(name)]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def fps(self) -> float:
        """Rows per second, from the mean spacing."""
        return (len(self.time) - 1) / float(self.time[-1] - self.time[0])

    def require(self, names: Sequence[str]) -> None:
        """Raises :class:`DataError`, naming line and column, where one of the columns ``names`` is NaN."""
        for name in names:
            gaps = np.flatnonzero(np.isnan(self[name]))
            if len(gaps):
                raise DataError(f"{self.path}, line {self.lines[gaps[0]]}: column '{shown(name)}' is not a number")


def read_table(path: Path | str, *, gaps: bool = False) -> Table:
    """Read a ``.mot`` or ``.sto`` file.

    Both header dialects are understood, a wrong number of rows or columns in it is only logged, values may be separated
    by tabs or blanks, with some at the line's end. Times written with few digits are put back on their even grid; a row
    that repeats the one before it, and a last row with the time of the row before it, are dropped with a message.

    Args:
        gaps: whether values may be NaN (or empty between two tabs); which ones may be is then the caller's to check.

    Raises:
        DataError: one line naming file and row or column.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file, expected an OpenSim table (.mot, .sto)")
    lines = read_text(path).splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip().lower() == "endheader"), None)
    if end is None:
        raise DataError(f"{path}: no line 'endheader', expected an OpenSim table (.mot, .sto)")
    body = [(n, line.split()) for n, line in enumerate(lines[end + 1 :], start=end + 2) if line.strip()]
    if not body or body[0][1][0].lower() != "time":
        raise DataError(f"{path}: the line after 'endheader' must name the columns, 'time' first")
    states = any(name.endswith("/value") for name in body[0][1])
    names = [re.sub(r".*/([^/]+)/value", r"\1", name) for name in body[0][1]]
    rows = [(n, _cells(lines[n - 1], words, len(names))) for n, words in body[1:]]
    values, numbers = _numbers(path, names, rows, gaps)
    header = _header(lines[:end])
    _check_counts(path, header, len(values), len(names))
    degrees = header.get("indegrees", "").lower()
    if degrees and degrees not in _YES + _NO:
        raise DataError(f"{path}: inDegrees={shown(degrees)}, expected yes or no")
    values, numbers = _without_repeats(path, values, numbers)
    time = _even(values[:, 0], path)
    in_degrees = degrees in _YES if degrees else (False if states else None)  # OpenSim writes states in radians
    return Table(tuple(names[1:]), time, values[:, 1:], in_degrees, path, numbers)


def _cells(line: str, words: list[str], count: int) -> list[str]:
    """The values of a row; an empty place between two tabs is NaN."""
    if len(words) == count:
        return words
    cells = [cell.strip() or "nan" for cell in line.rstrip("\r\n").split("\t")]
    return cells if len(cells) == count else words


def _numbers(
    path: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str]]], gaps: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values ``(rows, columns)`` and the line of each row."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: column '{shown(twice)}' is there twice")
    if len(rows) < 2:
        raise DataError(f"{path}: holds {len(rows)} rows of numbers, expected at least 2")
    wrong = next(((number, row) for number, row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(f"{path}, line {wrong[0]}: has {len(wrong[1])} values, expected {len(names)}; is it truncated?")
    try:
        values = np.array([row for _, row in rows], dtype=np.float64)
    except ValueError:
        values = np.array([[_number(path, n, word) for word in row] for n, row in rows], dtype=np.float64)
    bad = ~np.isfinite(values)
    if gaps:
        bad[:, 1:] &= ~np.isnan(values[:, 1:])
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(f"{path}, line {rows[row][0]}: column '{shown(names[column])}' is not finite")
    return values, np.array([number for number, _ in rows], dtype=np.int64)


def _number(path: Path, line: int, word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        if _NAN.fullmatch(word):
            return float("nan")
        why = "write decimals with a point" if re.fullmatch(r"[-+]?\d*,\d+", word) else "is it truncated?"
        raise DataError(f"{path}, line {line}: '{shown(word)}' is no number; {why}") from error


def _without_repeats(
    path: Path, values: NDArray[np.float64], lines: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Without rows that repeat the one before them, and without a last row of the same time, as some exports end."""
    again = np.zeros(len(values), dtype=bool)
    again[1:] = ((values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))).all(1)
    again[-1] |= values[-1, 0] == values[-2, 0]
    if again.any():
        first = lines[int(np.argmax(again))]
        log.info("%s: %d rows repeat the time of the row before them (line %d), dropped", path.name, again.sum(), first)
        values, lines = values[~again], lines[~again]
    if len(values) < 2:
        raise DataError(f"{path}: all rows have one time, expected at least 2 times")
    return values, lines


def _header(lines: Sequence[str]) -> dict[str, str]:
    """``key=value`` and ``key value`` lines, keys in lower case."""
    header: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(r"(\w+)\s*(?:=|\s)\s*(.*)", line.strip())
        if match:
            header.setdefault(match[1].lower(), match[2].strip())
    return header


def _check_counts(path: Path, header: Mapping[str, str], rows: int, columns: int) -> None:
    for keys, count in ((("nrows", "datarows"), rows), (("ncolumns", "datacolumns"), columns)):
        for key in keys:
            stated = header.get(key, str(count))
            if stated != str(count):
                what = f"{key}={shown(stated)}"
                log.info("%s: its header says %s, it holds %d; read what is there", path.name, what, count)


def _even(time: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """``time`` on an even grid, if it differs from one by rounding only."""
    steps = np.diff(time)
    if (steps <= 0).any():
        raise DataError(f"{path}: time does not grow after {time[int(np.argmin(steps > 0))]:g} s; sort or cut the rows")
    grid = np.linspace(time[0], time[-1], len(time))
    if np.abs(grid - time).max() > 0.5 * float(steps.mean()):
        raise DataError(f"{path}: rows are not evenly spaced in time; resample the file")
    return grid


def write_table(
    path: Path | str,
    names: Sequence[str],
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    degrees: bool,
    title: str = "Coordinates",
) -> Path:
    """Write a table as OpenSim does (tabs, 5 digits of time, 8 of values), atomically.

    Args:
        names: columns without ``time``, which is ``(rows,)`` seconds. values: ``(rows, columns)``, written as they are.
        degrees: what the header says.
    """
    head = [title, "version=1", f"nRows={len(values)}", f"nColumns={len(names) + 1}"]
    head += [f"inDegrees={'yes' if degrees else 'no'}", "", HINT, "", "endheader", "\t".join(["time", *names])]
    rows = [
        "\t".join([f"{t:.5f}", *(f"{value:.8f}" for value in row)])
        for t, row in zip(time.tolist(), np.asarray(values).tolist(), strict=True)
    ]
    write_text(Path(path), "\n".join([*head, *rows]))
    return Path(path)
