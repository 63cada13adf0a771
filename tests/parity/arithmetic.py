"""Published arithmetic that only comparisons need: of results, and of the published readers' limits and crops."""

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


def mpjpe(expected: Tensor, ours: Tensor) -> Tensor:
    """Mean joint distance per pose after moving both roots to the origin, ``(..., joints, 3) -> (...,)``, in metres."""
    expected, ours = expected.double(), ours.double()
    difference = (ours - ours[..., :1, :]) - (expected - expected[..., :1, :])
    per_joint = difference.square().sum(-1).sqrt()
    return per_joint.mean(-1)


def concept_rank(descriptions: Sequence[str], keywords: Sequence[str]) -> int:
    """1 + index of the first description that holds any keyword (case-sensitive substring), else their number + 1."""
    return first_hit(descriptions, lambda text: any(word in text for word in keywords))


def published_min_frames(rule: str, dataset_name: str) -> int:
    """The smallest clip each published reader keeps: 40 only for the one data set name that it knows, else 24.

    HMU's two readers compare with different names, so its training on "HumanML3D" admits clips of 24 frames.
    """
    known = {"hmu_eval": ("HumanML3D",), "hmu_train": ("t2m",)}.get(rule, ("t2m", "HumanML3D", "humanml3d"))
    return 40 if dataset_name in known else 24


def floor_length(frames: int, unit: int, *, double: bool = False) -> int:
    """Published item length: ``frames`` floored to whole units, one unit less when the coin says ``double``."""
    return (frames // unit - int(double)) * unit
