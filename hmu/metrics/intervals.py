"""95 % intervals by Student's t over repeats, and for shares. That by bootstrap is in ``evaluation/counting.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

Z = 1.959963984540054  #: of 95 %, in standard deviations of a Gaussian


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval of the mean over independent repeats; ``(nan, nan)`` for fewer than two."""
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    half = float(special.stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
    return mean - half, mean + half


def wilson_interval(hits: float, count: float) -> tuple[float, float]:
    """Wilson's interval of a share (1927); honest at 0 and 1, where the normal one has no width.

    ``count`` is the number of independent answers, which need not be whole (Kish's effective size).
    """
    if count <= 0:
        return math.nan, math.nan
    share, square = hits / count, Z * Z / count
    centre = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (max(0.0, centre - half) if share > 0 else 0.0), (min(1.0, centre + half) if share < 1 else 1.0)
