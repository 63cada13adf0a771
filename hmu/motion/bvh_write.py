"""Joints to BVH: local rotations that point every bone the right way, Euler angles, and the file's text.

Bones of generated motion change length by millimetres. So there are two ways to write them: position channels on every
joint (exact, the default of :func:`joints_to_bvh`), or fixed bone lengths (what animation programs like best).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.bvh import Bvh, local_to_world
from hmu.motion.rotations import normalise, quat_conjugate, quat_multiply, quat_rotate, quat_to_matrix
from hmu.motion.skeleton import Skeleton

Array = NDArray[np.float64]
_POSITIONS = ("xposition", "yposition", "zposition")
_ROTATIONS = ("zrotation", "yrotation", "xrotation")
_TINY = 1e-10


def matrix_to_euler_zyx(matrix: ArrayLike) -> Array:
    """Angles ``(..., 3)`` in radians, order z, y, x, with ``R = Rz Ry Rx``; at a pole x is zero."""
    m = np.asarray(matrix, dtype=np.float64)
    sine = np.clip(-m[..., 2, 0], -1.0, 1.0)
    pole = np.abs(sine) > 1.0 - 1e-12
    z = np.where(pole, np.arctan2(-m[..., 0, 1], m[..., 1, 1]), np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    x = np.where(pole, 0.0, np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    return np.stack([z, np.arcsin(sine), x], axis=-1)


def fit_rotations(
    joints: ArrayLike, parents: Sequence[int], offsets: ArrayLike, root: ArrayLike | None = None, iterations: int = 10
) -> Array:
    """Local rotations ``(frames, J, 4)`` with which a skeleton of fixed bones follows ``joints`` as well as it can.

    Sweeps over the joints from the root outwards; each is turned so that its bones point to where the children should
    be, several bones by the mean of their rotation vectors (Holden's Jacobian-free inverse kinematics).

    Args:
        joints: world positions to follow ``(frames, J, 3)``, parents before children.
        offsets: bone of each joint in its parent's frame ``(J, 3)``; the root's is not used.
        root: world position of the root ``(frames, 3)``; None = that of ``joints``.
        iterations: sweeps; one is enough where no joint has several children.
    """
    target = np.asarray(joints, dtype=np.float64)
    rotations = np.zeros((*target.shape[:2], 4))
    rotations[..., 0] = 1.0
    local = np.repeat(np.asarray(offsets, dtype=np.float64)[None], len(target), axis=0)
    local[:, 0] = target[:, 0] if root is None else np.asarray(root, dtype=np.float64)
    children = [[c for c, parent in enumerate(parents) if parent == joint] for joint in range(len(parents))]
    for _ in range(iterations):
        turn, world = local_to_world(rotations, local, parents)
        for joint, below in enumerate(children):
            parent = parents[joint]
            if parent >= 0:  # what a sweep has changed above is already in the parent's entry
                world[:, joint] = world[:, parent] + quat_rotate(turn[:, parent], local[:, joint])
                turn[:, joint] = quat_multiply(turn[:, parent], rotations[:, joint])
            if below:
                now = quat_rotate(turn[:, joint, None], local[:, below])
                rotations[:, joint] = quat_multiply(
                    rotations[:, joint], _towards(now, target[:, below] - world[:, joint, None], turn[:, joint])
                )
                turn[:, joint] = quat_multiply(turn[:, parent], rotations[:, joint]) if parent >= 0 else rotations[:, 0]
    return rotations


def _towards(now: Array, target: Array, turn: Array) -> Array:
    """Rotation in the joint's own frame ``(frames, 4)`` that takes bones ``now`` to ``target`` ``(frames, n, 3)``."""
    a, b = (v / (np.linalg.norm(v, axis=-1, keepdims=True) + _TINY) for v in (now, target))
    axis = np.cross(a, b)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), np.sum(a * b, axis=-1))
    axis = quat_rotate(quat_conjugate(turn)[:, None], normalise(axis))
    vector = (axis * angle[..., None]).mean(axis=1)
    size = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.concatenate([np.cos(size / 2), np.sin(size / 2) * vector / np.maximum(size, _TINY)], axis=-1)


def joints_to_bvh(joints: ArrayLike, skeleton: Skeleton, fps: float, positions: str = "all") -> Bvh:
    """A BVH of our own skeleton that shows ``joints`` ``(frames, J, 3)``, in the skeleton's unit, y up.

    ``positions="all"`` puts position channels on every joint, so that reading gives ``joints`` again (to six decimals);
    ``"root"`` has fixed bones (their median lengths), so that every program can read it.

    Raises:
        DataError: for another number of joints, NaN, or an unknown ``positions``.
    """
    world = np.asarray(joints, dtype=np.float64)
    if world.ndim != 3 or world.shape[1:] != (skeleton.joints, 3) or not len(world):
        raise DataError(f"joints of shape {world.shape}: expected (frames, {skeleton.joints}, 3) with frames > 0")
    if not np.isfinite(world).all() or positions not in ("all", "root"):
        raise DataError(f"joints must be finite and positions all or root, not '{positions}'")
    order = _depth_first(skeleton.parents)
    parents = tuple(-1 if skeleton.parents[j] < 0 else order.index(skeleton.parents[j]) for j in order)
    world = world[:, order]
    bones = world - np.where(np.array(parents)[:, None] < 0, world, world[:, np.maximum(parents, 0)])
    offsets = _rest_bones(bones, parents, skeleton.raw_axes[order])
    rotations = fit_rotations(world, parents, offsets, iterations=20)
    turn, _ = local_to_world(rotations, np.zeros_like(world), parents)
    angles = np.rad2deg(matrix_to_euler_zyx(quat_to_matrix(rotations)))
    above = turn[:, np.maximum(parents, 0)]
    moved = quat_rotate(quat_conjugate(above), bones)
    moved[:, 0] = world[:, 0]
    everywhere = positions == "all"
    free = [everywhere or parent < 0 for parent in parents]
    columns = [x for j, moves in enumerate(free) for x in ([moved[:, j]] if moves else []) + [angles[:, j]]]
    channels = tuple(_POSITIONS + _ROTATIONS if moves else _ROTATIONS for moves in free)
    names = tuple(skeleton.joint_names[j] for j in order)
    return Bvh(names, parents, offsets, channels, Fraction(fps).limit_denominator(1000), np.concatenate(columns, -1))


def _rest_bones(bones: Array, parents: Sequence[int], axes: Array) -> Array:
    """Bones of the rest pose ``(J, 3)``: median lengths along the skeleton's axes (a T-pose).

    Where several bones leave one joint, pelvis and chest, the angles between them are those of the first frame: one
    rotation cannot serve them all otherwise.
    """
    siblings = np.bincount(np.maximum(parents, 0)[1:], minlength=len(axes))
    forked = np.array([parent >= 0 and siblings[parent] > 1 for parent in parents])
    directions = np.where(forked[:, None], normalise(bones[0]), axes)
    rest: Array = directions * np.median(np.linalg.norm(bones, axis=-1), axis=0)[:, None]
    rest[0] = 0.0
    return rest


def _depth_first(parents: Sequence[int]) -> list[int]:
    """Joint numbers in the order in which a BVH file nests them."""
    order, waiting = [], [0]
    while waiting:
        joint = waiting.pop()
        order.append(joint)
        waiting += [c for c in reversed(range(len(parents))) if parents[c] == joint]
    return order


def format_bvh(bvh: Bvh) -> str:
    """The text of a BVH file: tabs, six decimals, frame time in seconds, zero End Sites."""
    lines, depth, stack = ["HIERARCHY"], 0, list[int]()
    for joint, parent in enumerate(bvh.parents):
        while stack and stack[-1] != parent:
            depth = _close(lines, depth, leaf=stack.pop() not in bvh.parents)
        tab = "\t" * depth
        lines += [f"{tab}{'ROOT' if parent < 0 else 'JOINT'} {bvh.names[joint]}", f"{tab}{{"]
        depth += 1
        lines.append("\t" * depth + "OFFSET " + " ".join(f"{v:.6f}" for v in bvh.offsets[joint]))
        written = " ".join(c[0].upper() + c[1:] for c in bvh.channels[joint])
        lines.append("\t" * depth + f"CHANNELS {len(bvh.channels[joint])} {written}")
        stack.append(joint)
    while stack:
        depth = _close(lines, depth, leaf=stack.pop() not in bvh.parents)
    lines += ["MOTION", f"Frames: {len(bvh.values)}", f"Frame Time: {float(1 / bvh.fps):.6f}"]
    lines += [" ".join(f"{v:.6f}" for v in row) for row in bvh.values]
    return "\n".join(lines) + "\n"


def _close(lines: list[str], depth: int, *, leaf: bool) -> int:
    """End one joint, with an End Site in a leaf; returns the depth outside of it."""
    if leaf:
        tab = "\t" * depth
        lines += [f"{tab}End Site", f"{tab}{{", f"{tab}\tOFFSET 0.000000 0.000000 0.000000", f"{tab}}}"]
    lines.append("\t" * (depth - 1) + "}")
    return depth - 1


def centimetres(bvh: Bvh) -> Bvh:
    """The same in centimetres, as most programs expect."""
    scale = np.array([100.0 if c.endswith("position") else 1.0 for channels in bvh.channels for c in channels])
    return replace(bvh, offsets=100.0 * bvh.offsets, values=bvh.values * scale)
