"""Left-right mirroring of joints, as the published data do it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.skeleton import Skeleton

Array = NDArray[np.float64]

# SMPL-H hands of the 52-joint raw data, left beside right, in the published order
_LEFT_HAND = (22, 23, 24, 34, 35, 36, 25, 26, 27, 31, 32, 33, 28, 29, 30)
_RIGHT_HAND = (43, 44, 45, 46, 47, 48, 40, 41, 42, 37, 38, 39, 49, 50, 51)


def mirror_joints(joints: ArrayLike, skeleton: Skeleton) -> Array:
    """Mirror raw joints: x negated, left and right exchanged (hands too when all 52 SMPL-H joints are there).

    Args:
        joints: ``(..., joints, 3)``; x is the person's left.
        skeleton: whose pairs are exchanged.

    Raises:
        DataError: if there are fewer joints than the skeleton has, or 25 to 51.
    """
    points = np.asarray(joints, dtype=np.float64)
    count = points.shape[-2] if points.ndim >= 2 else 0
    if count < skeleton.joints or 24 < count < 52 or points.shape[-1] != 3:
        raise DataError(f"mirroring {skeleton.name} needs ({skeleton.joints} or 52, 3) joints, got {points.shape[-2:]}")
    pairs = list(skeleton.mirror_pairs)
    if count >= 52:
        pairs += list(zip(_RIGHT_HAND, _LEFT_HAND, strict=True))
    mirrored: Array = points[..., _swap(count, pairs), :] * np.array([-1.0, 1.0, 1.0])
    return mirrored


def _swap(count: int, pairs: list[tuple[int, int]]) -> NDArray[np.intp]:
    index = np.arange(count)
    for right, left in pairs:
        index[right], index[left] = left, right
    return index
