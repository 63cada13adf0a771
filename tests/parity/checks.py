"""What a parity case yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One comparison; ``deviation`` is relative to ``1 + max|expected|`` unless ``absolute``, as is ``tolerance``."""

    name: str
    deviation: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """False also for NaN deviations."""
        return bool(self.deviation <= self.tolerance)


def compare(name: str, ours: object, expected: object, tolerance: float, *, absolute: bool = False) -> Check:
    """Compare arrays; a shape mismatch or a NaN on one side only is an infinite deviation."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(expected, dtype=np.float64)
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
    if isinstance(ours, np.ndarray) or isinstance(expected, np.ndarray):
        equal = bool(np.array_equal(np.asarray(ours), np.asarray(expected)))
    else:
        equal = ours == expected
    return Check(name, 0.0 if equal else float("inf"), 0.0)
