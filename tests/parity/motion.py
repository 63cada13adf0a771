"""Motion features that only comparisons need: mirrored joints, 6D columns, sign fixing, the root's path."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.rotations import axis_quat, cross, normalise, quat_conjugate, quat_rotate, quat_to_matrix
from hmu.motion.skeleton import Skeleton

Array = NDArray[np.float64]

# SMPL-H hands of the 52-joint raw data, left beside right, in the published order
_LEFT_HAND = (22, 23, 24, 34, 35, 36, 25, 26, 27, 31, 32, 33, 28, 29, 30)
_RIGHT_HAND = (43, 44, 45, 46, 47, 48, 40, 41, 42, 37, 38, 39, 49, 50, 51)


def mirror_joints(joints: ArrayLike, skeleton: Skeleton) -> Array:
    """Raw joints ``(..., joints, 3)``: x negated, left and right exchanged (hands too where SMPL-H's 52 are there).

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
    index = np.arange(count)
    for right, left in pairs:
        index[right], index[left] = left, right
    mirrored: Array = points[..., index, :] * np.array([-1.0, 1.0, 1.0])
    return mirrored


def six_to_matrix(six: ArrayLike) -> Array:
    """Rotation matrices ``(..., 3, 3)`` of 6D rotations ``(..., 6)`` by Gram-Schmidt."""
    s = np.asarray(six, dtype=np.float64)
    x = normalise(s[..., :3])
    z = normalise(cross(x, s[..., 3:]))
    return np.stack([x, cross(z, x), z], axis=-1)


def quat_continuous(q: ArrayLike) -> Array:
    """Flip signs along the first axis so that neighbours lie in one hemisphere; ``(frames, ..., 4)``."""
    q_ = np.asarray(q, dtype=np.float64)
    dots = np.sum(q_[1:] * q_[:-1], axis=-1, keepdims=True)
    signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.concatenate([q_[:1], q_[1:] * signs], axis=0)


def root_trajectory(features: ArrayLike, skeleton: Skeleton) -> tuple[Array, Array]:
    """Facing quaternion (world to body) ``(..., frames, 4)`` and root position ``(..., frames, 3)``."""
    rows = np.asarray(features, dtype=np.float64)
    layout = skeleton.layout
    steps = rows[..., [0, 1, 2]].copy()  # of the yaw, of x and z
    steps = np.concatenate([np.zeros_like(steps[..., :1, :]), steps[..., :-1, :]], axis=-2)
    turn = axis_quat("y", 2.0 * np.cumsum(steps[..., 0], axis=-1))
    flat = np.stack([steps[..., 1], np.zeros_like(steps[..., 1]), steps[..., 2]], axis=-1)
    position = np.cumsum(quat_rotate(quat_conjugate(turn), flat), axis=-2)
    position[..., 1] = rows[..., layout.root_height][..., 0]
    return turn, position


def joints_from_rotations(features: ArrayLike, skeleton: Skeleton, offsets: ArrayLike) -> Array:
    """Joints ``(..., frames, joints, 3)`` over the 6D rotation columns (the published ``recover_from_rot``).

    The root rotation of the chains is the world-to-body quaternion itself, because that is what the stored local
    rotations were taken relative to. ``offsets`` ``(joints, 3)``: raw unit axes times bone lengths.
    """
    rows, bones = np.asarray(features, dtype=np.float64), np.asarray(offsets, dtype=np.float64)
    turn, root = root_trajectory(rows, skeleton)
    local = six_to_matrix(rows[..., skeleton.layout.rotations].reshape(*rows.shape[:-1], -1, 6))
    matrices = {0: quat_to_matrix(turn)}
    joints = [root] * skeleton.joints
    for joint in skeleton.order:
        matrices[joint] = matrices[skeleton.chain_previous[joint]] @ local[..., joint - 1, :, :]
        joints[joint] = joints[skeleton.parents[joint]] + matrices[joint] @ bones[joint]
    return np.stack(joints, axis=-2)
