"""Arithmetic of the published readers that ours does by its limits and crops."""

from __future__ import annotations


def published_min_frames(rule: str, dataset_name: str) -> int:
    """The smallest clip each published reader keeps: 40 only for the one data set name that it knows, else 24.

    HMU's two readers compare with different names, so its training on "HumanML3D" admits clips of 24 frames.
    """
    known = {"hmu_eval": ("HumanML3D",), "hmu_train": ("t2m",)}.get(rule, ("t2m", "HumanML3D", "humanml3d"))
    return 40 if dataset_name in known else 24


def floor_length(frames: int, unit: int, *, double: bool = False) -> int:
    """Published item length: ``frames`` floored to whole units, one unit less when the coin says ``double``."""
    return (frames // unit - int(double)) * unit
