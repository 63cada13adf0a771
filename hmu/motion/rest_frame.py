"""The rest pose that recorders and converters put in front of a motion: found by the jump that follows it.

The usual conversion of the CMU collection begins every file with one frame of T-pose, others with the rest pose at the
origin. Kept, it is a jump of half a metre (or 35 m) in one frame, and the clip's heading is that of the rest pose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.motion.skeleton import T2M

Array = NDArray[np.float64]
LOOKED_AT = 100  # frames from the start
_JUMP = 0.08  # of the body's size in one frame; less is not worth a frame
_SPEED = 2.0  # body sizes per second: at a few frames per second large steps are ordinary
_NEXT = 5  # steps after the jump
_SUDDEN = 2.5  # times the largest of these; motion that merely starts fast stays below 1.3
_RARE, _LARGE = 99.0, 1.5  # times this percentile of all later steps: among other jumps it means nothing
_SYMMETRIC = 0.03  # of the body's size: rest poses are mirror images of themselves, poses of a motion are not
_LEG_AND_SPINE = [
    T2M.index(name)
    for name in ("left_ankle", "left_knee", "left_hip", "pelvis", "spine1", "spine2", "spine3", "neck", "head")
]
_TELEPORT, _FLIGHT = 0.7, 8.0  # body sizes of the pelvis in one frame, and per second: no motion, whatever the pose


def rest_frames(joints: ArrayLike, rest: ArrayLike, fps: float) -> int:
    """How many frames at the start are a rest pose and no part of the motion; 0 for nearly every clip.

    They all show one pose, a jump follows that is several times as large as the steps after it, and the pose is the
    skeleton's own rest pose or symmetric (or the pelvis jumps farther than anybody moves). A motion that starts fast
    goes on fast, and its first pose is no rest pose.

    Args:
        joints: the first frames as filmed ``(frames, 22, 3)``, any unit, any vertical axis.
        rest: the joints when nothing is turned ``(22, 3)``.
    """
    world = np.asarray(joints, dtype=np.float64)[:LOOKED_AT]
    size = body_size(world)
    if len(world) < 3 or not size > 0:
        return 0
    pelvis = world[:, :1]
    resting = min(_unlike(world[0], np.asarray(rest)), asymmetry(world[0])) < _SYMMETRIC * size
    if resting:  # the pose around the pelvis as well: a runner's feet are fast in the world
        return max(_before_jump(points / size, fps, _JUMP, _SPEED) for points in (world, world - pelvis))
    return _before_jump(pelvis / size, fps, _TELEPORT, _FLIGHT)


def _before_jump(points: Array, fps: float, least: float, speed: float) -> int:
    """Frames of ``points`` ``(frames, n, 3)`` before their first step, if that is a jump of ``least`` or more."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1).max(axis=1)
    still = int(np.argmax(steps > 1e-4))  # steps before the first one that moves
    jump, after = steps[still], steps[still + 1 :]
    if not len(after) or jump < max(least, speed / fps, _SUDDEN * after[:_NEXT].max()):
        return 0
    return still + 1 if jump >= _LARGE * np.percentile(after, _RARE) else 0


def body_size(joints: Array) -> float:
    """Length of left leg and spine with the head, in the unit of ``joints`` ``(frames, 22, 3)``; median over frames."""
    bones = np.linalg.norm(np.diff(joints[:, _LEG_AND_SPINE], axis=1), axis=-1)
    return float(np.median(bones.sum(axis=1))) if len(joints) else 0.0


def asymmetry(pose: Array) -> float:
    """How far a joint of the pose ``(22, 3)`` lies from its mirror image's place at most."""
    swapped = np.arange(T2M.joints)
    for right, left in T2M.mirror_pairs:
        swapped[[right, left]] = left, right
    return _unlike(pose[swapped] * np.array([-1.0, 1.0, 1.0]), pose)


def _unlike(pose: Array, other: Array) -> float:
    """Largest distance of two poses laid over each other by the best rotation and shift."""
    a, b = pose - pose.mean(axis=0), other - other.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    return float(np.linalg.norm(a @ (left @ flip @ right) - b, axis=-1).max())
