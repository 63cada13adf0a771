"""Joints to feature rows: the published pre-processing (Guo et al., CVPR 2022, ``process_file``) in float64.

The way back is ``hmu.motion.decoding``.

Facing. Every published data set was made with a sign error: where the heading is computed per frame, the two hips
enter the "across" vector with the opposite sign, so that only the wider shoulders keep it pointing the right way and
the facing is off by 11 degrees on average. ``facing="upstream"`` (the default) repeats it, because features must match
published data, statistics and checkpoints. ``facing="true"`` uses the hips with the right sign, turns the clip so that
the smoothed facing of the first frame is exactly +z (upstream overwrites that frame's rotation instead, which shows as
a spurious turn in row 0), and keeps yaw steps right where the person faces -z (upstream flips the sign of that step).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.rotations import normalise, quat_between, quat_conjugate, quat_multiply, quat_rotate, quat_to_six
from hmu.motion.skeleton import Skeleton

Array = NDArray[np.float64]
Facing = Literal["upstream", "true"]
_UP, _FORWARD = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])


def joints_to_features(
    joints: ArrayLike,
    skeleton: Skeleton,
    *,
    target_offsets: ArrayLike | None = None,
    facing: Facing = "upstream",
    smoothing: float = 20.0,
    contact_threshold: float | None = None,
) -> Array:
    """Feature rows of one clip.

    Args:
        joints: world positions in the skeleton's unit, y up, ``(frames, joints, 3)``, at least 2 frames; extra joints
            (hands) after the skeleton's are ignored.
        target_offsets: bone vectors ``(joints, 3)`` (see ``bone_offsets``) every bone is resized to; None keeps the
            clip's own bones (published data are retargeted to one reference person).
        facing: see the module's text.
        smoothing: sigma in frames of the Gaussian over the heading.
        contact_threshold: squared displacement per frame below which a foot is in contact; None: the skeleton's.

    Returns:
        ``(frames - 1, features)`` float64: floor at 0, first root at x = z = 0, first frame facing +z. Always finite:
        antiparallel directions turn about a fixed axis and zero-length bones keep their parent's rotation.

    Raises:
        DataError: wrong shape, fewer than 2 frames, or non-finite coordinates.
    """
    world = _checked(joints, skeleton)
    if target_offsets is not None:
        world = retarget(world, skeleton, target_offsets)
    world = face_forward(world, skeleton)
    turn = facing_quaternions(world, skeleton, facing=facing, smoothing=smoothing)
    if facing == "true":
        world, turn = quat_rotate(turn[0], world), quat_multiply(turn, quat_conjugate(turn[0]))
    turn[0] = (1.0, 0.0, 0.0, 0.0)

    step = world[1:] - world[:-1]
    local = world.copy()
    local[..., [0, 2]] -= world[:, :1, [0, 2]]
    local = quat_rotate(turn[:, None], local)
    rotations = quat_to_six(local_rotations(world, skeleton, turn)[:, 1:])
    threshold = skeleton.contact_threshold if contact_threshold is None else contact_threshold
    contacts = np.sum(step[:, list(skeleton.contacts)] ** 2, axis=-1) < threshold
    blocks = [
        _yaw_steps(turn, unwrap=facing == "true")[:, None],
        quat_rotate(turn[1:], step[:, 0])[:, [0, 2]],
        world[:-1, 0, 1:2],
        local[:-1, 1:].reshape(len(step), -1),
        rotations[:-1].reshape(len(step), -1),
        quat_rotate(turn[:-1, None], step).reshape(len(step), -1),
        contacts.astype(np.float64),
    ]
    return np.concatenate(blocks, axis=-1)


def face_forward(joints: ArrayLike, skeleton: Skeleton) -> Array:
    """Lowest joint of the clip to y = 0, first root to x = z = 0, first frame turned to +z; ``(frames, joints, 3)``."""
    world = np.array(joints, dtype=np.float64)
    world[..., 1] -= world[..., 1].min()
    world[..., [0, 2]] -= world[0, 0, [0, 2]].copy()
    return quat_rotate(_heading_quaternion(_forward(world[0], skeleton)), world)


def facing_quaternions(
    joints: ArrayLike, skeleton: Skeleton, *, facing: Facing = "upstream", smoothing: float = 20.0
) -> Array:
    """World-to-body rotation about the vertical per frame, ``(frames, 4)``; heading smoothed before normalising."""
    if facing not in ("upstream", "true"):
        raise DataError(f"facing is 'upstream' or 'true', got '{facing}'")
    forward = _forward(np.asarray(joints, dtype=np.float64), skeleton, swapped_hips=facing == "upstream")
    return _heading_quaternion(smooth(forward, smoothing))


def local_rotations(joints: ArrayLike, skeleton: Skeleton, turn: ArrayLike) -> Array:
    """Rotation of each joint's bone relative to the previous joint of its chain, ``(frames, joints, 4)``.

    The first bone of every chain is relative to the root (arms too), whose world-to-body rotation ``turn``
    ``(frames, 4)`` is joint 0 of the result; ``joints`` are world positions ``(frames, joints, 3)``.
    """
    rotations = _world_rotations(np.asarray(joints, dtype=np.float64), skeleton, np.asarray(turn, dtype=np.float64))
    previous = np.array(skeleton.chain_previous)
    local = rotations.copy()
    local[:, 1:] = quat_multiply(quat_conjugate(rotations[:, previous[1:]]), rotations[:, 1:])
    return local


def retarget(joints: ArrayLike, skeleton: Skeleton, target_offsets: ArrayLike) -> Array:
    """Give every bone its target length, keep its direction, scale the root's path by the leg ratio.

    Args:
        joints: ``(frames, joints, 3)``; the source's bone lengths are read from its first frame.
        target_offsets: bone vectors ``(joints, 3)``.

    Returns:
        ``(frames, joints, 3)``. A bone without length keeps the direction of its parent's rotation of its raw axis.

    Raises:
        DataError: for offsets of another shape, or a source without legs.
    """
    world = np.asarray(joints, dtype=np.float64)
    offsets = np.asarray(target_offsets, dtype=np.float64)
    if offsets.shape != (skeleton.joints, 3):
        raise DataError(f"target offsets of {skeleton.name} have shape ({skeleton.joints}, 3), got {offsets.shape}")
    legs = list(skeleton.retarget_bones)
    source_leg = np.abs(bone_offsets(world[0], skeleton)[legs]).max(axis=-1).sum()
    if source_leg <= 0:
        raise DataError("cannot retarget: the leg bones of the first frame have no length")
    scale = np.abs(offsets[legs]).max(axis=-1).sum() / source_leg
    directions = quat_rotate(_world_rotations(world, skeleton), skeleton.raw_axes)
    lengths = np.linalg.norm(offsets, axis=-1)
    result = np.repeat(world[:, :1] * scale, skeleton.joints, axis=1)
    for joint in skeleton.order:
        result[:, joint] = result[:, skeleton.parents[joint]] + directions[:, joint] * lengths[joint]
    return result


def bone_offsets(pose: ArrayLike, skeleton: Skeleton) -> Array:
    """Raw unit axis times bone length measured on one pose ``(>= joints, 3)``: the target of ``retarget``."""
    points = np.asarray(pose, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] < skeleton.joints or points.shape[1] != 3:
        raise DataError(f"a pose of {skeleton.name} has shape ({skeleton.joints}, 3), got {points.shape}")
    bones = points[1 : skeleton.joints] - points[list(skeleton.parents[1:])]
    lengths = np.concatenate([[0.0], np.linalg.norm(bones, axis=-1)])
    offsets: Array = skeleton.raw_axes * lengths[:, None]
    return offsets


def smooth(values: ArrayLike, sigma: float) -> Array:
    """Gaussian along the first axis, window cut at 4 sigma, ends repeated; ``(frames, ...)``; sigma 0 copies."""
    data = np.asarray(values, dtype=np.float64)
    radius = int(4.0 * sigma + 0.5)
    if radius == 0:
        return data.copy()
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.concatenate([np.repeat(data[:1], radius, 0), data, np.repeat(data[-1:], radius, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
    smoothed: Array = windows @ (taps / taps.sum())
    return smoothed


def _checked(joints: ArrayLike, skeleton: Skeleton) -> Array:
    world = np.asarray(joints, dtype=np.float64)
    if world.ndim != 3 or world.shape[1] < skeleton.joints or world.shape[2] != 3 or len(world) < 2:
        raise DataError(
            f"a clip of {skeleton.name} has shape (frames >= 2, {skeleton.joints}, 3), got {tuple(world.shape)}"
        )
    world = world[:, : skeleton.joints]
    if not np.isfinite(world).all():
        raise DataError("the clip contains NaN or infinite coordinates: repair or drop it")
    return world


def _forward(joints: Array, skeleton: Skeleton, *, swapped_hips: bool = False) -> Array:
    """Unnormalised horizontal heading ``(..., 3)``: up x (unit vector from left to right across hips and shoulders)."""
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.facing
    hips = joints[..., right_hip, :] - joints[..., left_hip, :]
    shoulders = joints[..., right_shoulder, :] - joints[..., left_shoulder, :]
    across = normalise(shoulders - hips if swapped_hips else shoulders + hips)
    return np.cross(np.broadcast_to(_UP, across.shape), across, axis=-1)


def _heading_quaternion(forward: Array) -> Array:
    """Shortest rotation to +z; a heading without length counts as +z."""
    return quat_between(forward, np.broadcast_to(_FORWARD, forward.shape))


def _yaw_steps(turn: Array, *, unwrap: bool) -> Array:
    """Half of the yaw step t -> t+1, ``(frames - 1,)``."""
    step = quat_multiply(turn[1:], quat_conjugate(turn[:-1]))
    if unwrap:
        step = np.where(step[:, :1] < 0, -step, step)
    return np.arcsin(np.clip(step[:, 2], -1.0, 1.0))


def _world_rotations(joints: Array, skeleton: Skeleton, turn: Array | None = None) -> Array:
    """Rotation of each joint's raw axis to its bone in the world, ``(frames, joints, 4)``; joint 0 holds ``turn``."""
    bones = np.zeros_like(joints)
    bones[:, 1:] = joints[:, 1:] - joints[:, list(skeleton.parents[1:])]
    axes = np.broadcast_to(skeleton.raw_axes, bones.shape)
    rotations = quat_between(axes, bones)
    rotations[:, 0] = np.array([1.0, 0.0, 0.0, 0.0]) if turn is None else turn
    missing = np.linalg.norm(bones, axis=-1) <= 1e-12
    if missing[:, 1:].any():
        for joint in skeleton.order:
            gone = missing[:, joint]
            rotations[gone, joint] = rotations[gone, skeleton.chain_previous[joint]]
    return rotations
