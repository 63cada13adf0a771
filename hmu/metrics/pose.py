"""Distances between poses."""

from __future__ import annotations

from torch import Tensor


def mpjpe(expected: Tensor, found: Tensor) -> Tensor:
    """Mean joint distance per pose after moving both roots to the origin, ``(..., joints, 3) -> (...,)``, in metres."""
    expected, found = expected.double(), found.double()
    difference = (found - found[..., :1, :]) - (expected - expected[..., :1, :])
    per_joint = difference.square().sum(-1).sqrt()
    return per_joint.mean(-1)
