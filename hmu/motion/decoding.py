"""Feature rows back to joints: integrate the root, turn the local positions (or chain the local rotations)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.errors import DataError
from hmu.motion.skeleton import Skeleton

Motion = TypeVar("Motion", NDArray, Tensor)


def features_to_joints(features: Motion, skeleton: Skeleton) -> Motion:
    """Joint positions from the root and position columns (the published ``recover_from_ric``).

    Args:
        features: real units, ``(..., frames, features)``, numpy array or torch tensor (differentiable).
        skeleton: the skeleton of these columns.

    Returns:
        World joints ``(..., frames, joints, 3)`` in the skeleton's unit, in the input's type and dtype; computed in
        float64 (float32 on devices without it). The last row's root velocities are never used.

    Raises:
        DataError: if the width is not the skeleton's.
    """
    if isinstance(features, np.ndarray):
        return features_to_joints(torch.from_numpy(features), skeleton).numpy()
    rows = _wide(features, skeleton)
    cos, sin, root = _root(rows, skeleton)
    local = rows[..., skeleton.layout.positions].unflatten(-1, (skeleton.joints - 1, 3))
    others = _turn(local, cos[..., None], sin[..., None])
    ground = root * torch.tensor([1.0, 0.0, 1.0], dtype=rows.dtype, device=rows.device)
    joints = torch.cat([root[..., None, :], others + ground[..., None, :]], dim=-2)
    return joints.to(features.dtype)


def features_to_joints_from_rotations(features: Motion, skeleton: Skeleton, offsets: NDArray) -> Motion:
    """Joint positions by forward kinematics over the 6D rotation columns (the published ``recover_from_rot``).

    The root rotation of the chains is the world-to-body quaternion itself, because that is what the stored local
    rotations were taken relative to.

    Args:
        features: real units, ``(..., frames, features)``.
        skeleton: the skeleton of these columns.
        offsets: bone vectors ``(joints, 3)``: raw unit axis times bone length, see ``features.bone_offsets``.

    Returns:
        World joints ``(..., frames, joints, 3)`` with exactly the given bone lengths.

    Raises:
        DataError: if the width or the offsets do not fit the skeleton.
    """
    if isinstance(features, np.ndarray):
        return features_to_joints_from_rotations(torch.from_numpy(features), skeleton, offsets).numpy()
    if np.shape(offsets) != (skeleton.joints, 3):
        raise DataError(f"bone offsets of {skeleton.name} have shape ({skeleton.joints}, 3), got {np.shape(offsets)}")
    rows = _wide(features, skeleton)
    bones = torch.as_tensor(np.array(offsets), dtype=rows.dtype, device=rows.device)
    cos, sin, root = _root(rows, skeleton)
    local = _six_to_matrix(rows[..., skeleton.layout.rotations].unflatten(-1, (skeleton.joints - 1, 6)))
    start = _yaw_matrix(cos, sin)
    matrices: dict[int, Tensor] = {}
    joints: list[Tensor] = [root] * skeleton.joints
    for joint in skeleton.order:
        previous = skeleton.chain_previous[joint]
        matrices[joint] = (start if previous == 0 else matrices[previous]) @ local[..., joint - 1, :, :]
        joints[joint] = joints[skeleton.parents[joint]] + matrices[joint] @ bones[joint]
    return torch.stack(joints, dim=-2).to(features.dtype)


def root_trajectory(features: Motion, skeleton: Skeleton) -> tuple[Motion, Motion]:
    """Facing quaternion (world to body) ``(..., frames, 4)`` and root position ``(..., frames, 3)``."""
    if isinstance(features, np.ndarray):
        quats, root = root_trajectory(torch.from_numpy(features), skeleton)
        return quats.numpy(), root.numpy()
    rows = _wide(features, skeleton)
    cos, sin, position = _root(rows, skeleton, half=True)
    zero = torch.zeros_like(cos)
    return torch.stack([cos, zero, sin, zero], dim=-1).to(features.dtype), position.to(features.dtype)


def _wide(features: Tensor, skeleton: Skeleton) -> Tensor:
    """Check the width; integrate in float64 because the sums run over the whole clip."""
    if features.ndim < 2 or features.shape[-1] != skeleton.features:
        raise DataError(
            f"features of {skeleton.name} have shape (..., frames, {skeleton.features}), got {tuple(features.shape)}"
        )
    return features.to(torch.float32 if features.device.type == "mps" else torch.float64)


def _root(rows: Tensor, skeleton: Skeleton, *, half: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine and sine of the world-to-body yaw ``(..., frames)`` (of its half if ``half``) and the root's positions."""
    layout = skeleton.layout
    yaw_step = rows[..., layout.root_yaw].squeeze(-1)
    angle = _shifted_sum(yaw_step, dim=-1)  # half of the yaw
    cos, sin = torch.cos(2.0 * angle), torch.sin(2.0 * angle)
    velocity = rows[..., layout.root_velocity]
    step = torch.cat([torch.zeros_like(velocity[..., :1, :]), velocity[..., :-1, :]], dim=-2)
    flat = torch.stack([step[..., 0], torch.zeros_like(angle), step[..., 1]], dim=-1)
    travelled = torch.cumsum(_turn(flat, cos, sin), dim=-2)
    height = rows[..., layout.root_height].squeeze(-1)
    position = torch.stack([travelled[..., 0], height, travelled[..., 2]], dim=-1)
    return (torch.cos(angle), torch.sin(angle), position) if half else (cos, sin, position)


def _shifted_sum(values: Tensor, dim: int) -> Tensor:
    """Sum of all earlier entries (0 for the first)."""
    return torch.cumsum(torch.cat([torch.zeros_like(values[..., :1]), values[..., :-1]], dim=dim), dim=dim)


def _turn(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Body to world: rotate ``(..., 3)`` about y by minus the world-to-body yaw."""
    x, y, z = vectors.unbind(-1)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], dim=-1)


def _yaw_matrix(cos: Tensor, sin: Tensor) -> Tensor:
    """World-to-body rotation about y, ``(..., 3, 3)``."""
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [[cos, zero, sin], [zero, one, zero], [-sin, zero, cos]]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _six_to_matrix(six: Tensor) -> Tensor:
    """Gram-Schmidt on two columns, ``(..., 6)`` -> ``(..., 3, 3)``; zero columns stay finite."""
    x = torch.nn.functional.normalize(six[..., :3], dim=-1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, six[..., 3:], dim=-1), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x, dim=-1), z], dim=-1)
