"""What a parity case yields: comparisons, and what it could not compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from torch import Tensor

from hmu.errors import CheckpointError

M = TypeVar("M")
CLOSE = 2e-5  # below this deviation a hypothesis about a case (its weights, its schedule) is taken without more search


@dataclass(frozen=True)
class Check:
    """One comparison; ``deviation`` is relative to ``1 + max|expected|`` unless ``absolute``, as is ``tolerance``.

    A ``note`` marks what could not be compared, and why; it passes unless the run is strict.
    """

    name: str
    deviation: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """False also for NaN deviations."""
        return bool(self.deviation <= self.tolerance)


Checks = Iterator[Check]


def inside(place: str, checks: Iterable[Check]) -> Checks:
    """The same checks, told apart by where they were made."""
    return (replace(check, name=f"{place} {check.name}") for check in checks)


def unchecked(what: str, why: str) -> Check:
    """A note that something was not compared."""
    return Check(what, 0.0, 0.0, why)


def compare(name: str, ours: object, expected: object, tolerance: float, *, absolute: bool = False) -> Check:
    """Compare arrays; a shape mismatch or a NaN on one side only is an infinite deviation."""
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x, dtype=np.float64) for x in (ours, expected))
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return Check(name, float("inf"), tolerance)
    if a.size == 0:
        return Check(name, 0.0, tolerance)
    known = np.abs(b[~np.isnan(b)])
    scale = 1.0 if absolute or not known.size else 1.0 + float(known.max())
    difference = np.nan_to_num(np.abs(a - b), nan=0.0, posinf=np.inf)
    return Check(name, float(difference.max()) / scale, tolerance)


def exact(name: str, ours: object, expected: object) -> Check:
    """Equality of anything comparable (lists, strings, integer arrays)."""
    if isinstance(ours, (np.ndarray, Tensor)) or isinstance(expected, (np.ndarray, Tensor)):
        equal = bool(np.array_equal(np.asarray(ours), np.asarray(expected)))
    else:
        equal = ours == expected
    return Check(name, 0.0 if equal else float("inf"), 0.0)


def match(name: str, ours: object, expected: np.ndarray, tolerance: float, *, absolute: bool = False) -> Check:
    """:func:`exact` for whole numbers and flags, else :func:`compare`."""
    if expected.dtype.kind in "iubSU":
        return exact(name, ours, expected)
    return compare(name, ours, expected, tolerance, absolute=absolute)


def deviation(ours: object, expected: object) -> float:
    """How far an output is from the stored one: the share of wrong ids, or the deviation of numbers."""
    stored = np.asarray(expected)
    if stored.dtype.kind not in "iub":
        return compare("", ours, stored, 0.0).deviation
    ids = np.asarray(ours)
    return float((ids != stored).mean()) if ids.shape == stored.shape else float("inf")


def nearest(candidates: Iterable[M], error: Callable[[M], float], what: str = "guess", close: float = CLOSE) -> M:
    """The first candidate that is clearly right, else the one with the smallest error.

    Raises:
        CheckpointError: there is no candidate; ``what`` says of what.
    """
    best: tuple[float, M] | None = None
    for candidate in candidates:
        off = error(candidate)
        if best is None or off < best[0]:
            best = (off, candidate)
        if off < close:
            break
    if best is None:
        raise CheckpointError(f"no {what} beside the case has its sizes")
    return best[1]


def fewest_failures(attempts: Iterable[Iterable[Check]]) -> list[Check]:
    """The checks of the attempt that fails least; later attempts are made only if the first fail."""
    best: list[Check] = []
    least: float = float("inf")
    for attempt in attempts:
        checks = list(attempt)
        failed = sum(not check.passed for check in checks)
        if failed < least:
            best, least = checks, failed
        if not failed:
            break
    return best
