"""A walking figure made of sines, for tests."""

from __future__ import annotations

import numpy as np

from hmu.motion.features import retarget
from hmu.motion.reference import humanml3d_offsets
from hmu.motion.skeleton import T2M, Skeleton


def walker(frames: int, seed: int = 0, skeleton: Skeleton = T2M, turn: float = 0.05) -> np.ndarray:
    """``(frames, joints, 3)``: a person-like pose with moving bones, walking on a curve."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None, None]
    axes = skeleton.raw_axes[None] + 0.25 * np.sin(
        0.3 * time + rng.uniform(0, 6, (1, skeleton.joints, 3))
    ) * rng.uniform(0.2, 1, (1, skeleton.joints, 3))
    offsets = humanml3d_offsets() if skeleton is T2M else skeleton.raw_axes * 250.0
    joints = np.zeros((frames, skeleton.joints, 3))
    for joint in skeleton.order:
        joints[:, joint] = joints[:, skeleton.parents[joint]] + axes[:, joint] * np.linalg.norm(offsets[joint])
    yaw = turn * np.arange(frames)
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, z = joints[..., 0].copy(), joints[..., 2].copy()
    joints[..., 0], joints[..., 2] = cos * x + sin * z, -sin * x + cos * z
    path = np.cumsum(np.stack([np.sin(yaw), np.zeros(frames), np.cos(yaw)], -1), axis=0) * np.abs(offsets).max() * 0.1
    joints = joints + path[:, None] + np.array([3.0, 1.0, -2.0]) * np.abs(offsets).max()
    return retarget(joints, skeleton, offsets)
