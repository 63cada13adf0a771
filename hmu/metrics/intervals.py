"""95 % intervals: as published, by Student's t over repeats, by bootstrap over prompts, and for shares."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_SHARE = re.compile(r"_(rate|share|skate|accuracy(_[a-z]+)?)(@[a-z]\w*)?$|^r_precision|^(min_)?ncs@")
_SIZE = re.compile(r"^(fid|mm_|diversity|multimodality|toxic_distance|jerk|energy|(min_)?(mean|median)_rank)")


def is_share(metric: str) -> bool:
    """Whether the metric is a share, 0 to 1, that people read in percent."""
    return bool(_SHARE.search(metric))


def is_size(metric: str) -> bool:
    """Whether the metric is a distance, a rank or the like, never below 0."""
    return bool(_SIZE.search(metric))


def relative_change(metric: str, before: float, after: float) -> float | None:
    """``after / before - 1``; None from 0, and of an unbiased distance, which varies around it."""
    if before == 0 or metric.startswith("kernel_distance"):
        return 0.0 if after == before else None
    return after / before - 1


def published_half_width(values: Sequence[float]) -> float:
    """``1.96 std / sqrt(n)`` with the divisor ``n`` (Guo et al.'s evaluation script); too narrow for few repeats."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    return 1.96 * math.sqrt(variance / len(values))


def t_cdf(x: float, freedom: int) -> float:
    """Student's t distribution function, whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    theta = math.atan(x / math.sqrt(freedom))
    cosine, sine = math.cos(theta), math.sin(theta)
    odd = freedom % 2 == 1
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    if freedom > 1:
        for k in range(3 if odd else 2, freedom + 1, 2):
            total += term
            term *= cosine * cosine * (k - 1) / k
    inner = 2 / math.pi * (theta + sine * total) if odd else sine * total
    return 0.5 + 0.5 * inner


def t_quantile(probability: float, freedom: int) -> float:
    """The ``x`` with ``t_cdf(x) = probability`` for ``0.5 < probability < 1``, by bisection to machine precision."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return 0.5 * (low + high)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean over independent repeats; ``(nan, nan)`` for fewer than two."""
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    half = t_quantile(0.5 + level / 2, count - 1) * deviation / math.sqrt(count)
    return mean - half, mean + half


def wilson_interval(hits: float, count: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval of a share (1927); honest at 0 and 1, where the normal one has no width.

    ``count`` is the number of independent answers, which need not be whole (Kish's effective size).
    """
    if count <= 0:
        return math.nan, math.nan
    share, square = hits / count, z * z / count
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (max(0.0, centre - half) if share > 0 else 0.0), (min(1.0, centre + half) if share < 1 else 1.0)


def bootstrap_interval(
    rows: Tensor, statistic: Callable[[Tensor], Tensor], draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of ``statistic`` under resampling of rows (Efron 1979).

    Args:
        rows: one row per independent prompt ``(n, ...)``.
        statistic: maps resampled rows ``(draws, n, ...)`` to ``(draws,)``.
        draws, level, seed: of the resampling.
    """
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(rows), (draws, len(rows)), generator=generator)
    values = statistic(rows[index.to(rows.device)]).double().cpu()
    edges = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
    low, high = torch.quantile(values, edges).tolist()
    return low, high
