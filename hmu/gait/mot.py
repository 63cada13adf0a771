"""OpenSim's tables (``.mot``, ``.sto``): a header in one of two dialects, then rows of numbers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.run import write_text

log = logging.getLogger(__name__)
HINT = (
    "If the header above contains a line with 'inDegrees', this indicates whether rotational values are in degrees "
    "(yes) or radians (no)."
)
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")


@dataclass(frozen=True)
class Table:
    """A table of a motion over time.

    Attributes:
        names: columns without ``time``. time: seconds ``(rows,)``. values: ``(rows, columns)`` as in the file.
        degrees: whether angles are in degrees; None where the header does not say.
        path: where it came from.
    """

    names: tuple[str, ...]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    degrees: bool | None
    path: Path

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values[:, self.names.index(name)]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def fps(self) -> float:
        """Rows per second, from the mean spacing."""
        return (len(self.time) - 1) / float(self.time[-1] - self.time[0])


def read_table(path: Path | str) -> Table:
    """Read a ``.mot`` or ``.sto`` file.

    Both header dialects are understood, a wrong number of rows or columns in it is only logged, values may be separated
    by tabs or blanks, with some at the line's end. Times written with few digits are put back on their even grid.

    Raises:
        DataError: one line naming file and row or column.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected an OpenSim table (.mot, .sto)")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file, expected an OpenSim table (.mot, .sto)") from error
    end = next((n for n, line in enumerate(lines) if line.strip().lower() == "endheader"), None)
    if end is None:
        raise DataError(f"{path}: no line 'endheader', expected an OpenSim table (.mot, .sto)")
    body = [(n, line.split()) for n, line in enumerate(lines[end + 1 :], start=end + 2) if line.strip()]
    if not body or body[0][1][0].lower() != "time":
        raise DataError(f"{path}: the line after 'endheader' must name the columns, 'time' first")
    names, rows = body[0][1], body[1:]
    values = _numbers(path, names, rows)
    header = _header(lines[:end])
    _check_counts(path, header, len(values), len(names))
    degrees = header.get("indegrees", "").lower()
    if degrees and degrees not in _YES + _NO:
        raise DataError(f"{path}: inDegrees={degrees}, expected yes or no")
    time = _even(values[:, 0], path)
    return Table(tuple(names[1:]), time, values[:, 1:], degrees in _YES if degrees else None, path)


def _numbers(path: Path, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> NDArray[np.float64]:
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise DataError(f"{path}: column '{twice}' is there twice")
    if len(rows) < 2:
        raise DataError(f"{path}: holds {len(rows)} rows of numbers, expected at least 2")
    wrong = next(((number, row) for number, row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(f"{path}, line {wrong[0]}: has {len(wrong[1])} values, expected {len(names)}; is it truncated?")
    try:
        values = np.array([row for _, row in rows], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: a value is no number ({error})") from error
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{path}, line {rows[row][0]}: column '{names[column]}' is not finite")
    return values


def _header(lines: Sequence[str]) -> dict[str, str]:
    """``key=value`` and ``key value`` lines, keys in lower case."""
    found: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(r"(\w+)\s*(?:=|\s)\s*(.*)", line.strip())
        if match:
            found.setdefault(match.group(1).lower(), match.group(2).strip())
    return found


def _check_counts(path: Path, header: Mapping[str, str], rows: int, columns: int) -> None:
    for keys, found in ((("nrows", "datarows"), rows), (("ncolumns", "datacolumns"), columns)):
        for key in keys:
            if header.get(key, str(found)) != str(found):
                log.info(
                    "%s: its header says %s=%s, it holds %d; read what is there", path.name, key, header[key], found
                )


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
        names: columns without ``time``. time: ``(rows,)`` seconds. values: ``(rows, columns)``.
        degrees: what the header says; values are written as they are.
    """
    head = [title, "version=1", f"nRows={len(values)}", f"nColumns={len(names) + 1}"]
    head += [f"inDegrees={'yes' if degrees else 'no'}", "", HINT, "", "endheader", "\t".join(["time", *names])]
    rows = [
        "\t".join([f"{t:.5f}", *(f"{value:.8f}" for value in row)])
        for t, row in zip(time.tolist(), np.asarray(values).tolist(), strict=True)
    ]
    write_text(Path(path), "\n".join([*head, *rows]))
    return Path(path)
