"""Published arithmetic that only comparisons need."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from hmu.metrics.ncs import first_hit


def published_half_width(values: Sequence[float]) -> float:
    """``1.96 std / sqrt(n)`` with the divisor ``n`` (Guo et al.'s evaluation script); too narrow for few repeats."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    return 1.96 * math.sqrt(variance / len(values))


def mpjpe(expected: Tensor, found: Tensor) -> Tensor:
    """Mean joint distance per pose after moving both roots to the origin, ``(..., joints, 3) -> (...,)``, in metres."""
    expected, found = expected.double(), found.double()
    difference = (found - found[..., :1, :]) - (expected - expected[..., :1, :])
    per_joint = difference.square().sum(-1).sqrt()
    return per_joint.mean(-1)


def concept_rank(descriptions: Sequence[str], keywords: Sequence[str]) -> int:
    """1 + index of the first description that holds any keyword (case-sensitive substring), else their number + 1."""
    return first_hit(descriptions, lambda text: any(word in text for word in keywords))
