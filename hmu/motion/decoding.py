"""Feature rows back to joints: integrate the root, turn the local positions."""

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
    """World joints ``(..., frames, joints, 3)`` from the root and position columns (published ``recover_from_ric``).

    In the skeleton's unit, in the type and dtype of ``features`` ``(..., frames, features)`` (real units, numpy or
    torch, differentiable); computed in float64 (float32 on devices without it). The last row's root velocities are
    never used.

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


def _wide(features: Tensor, skeleton: Skeleton) -> Tensor:
    """Check the width; integrate in float64 because the sums run over the whole clip."""
    if features.ndim < 2 or features.shape[-1] != skeleton.features:
        raise DataError(
            f"features of {skeleton.name} have shape (..., frames, {skeleton.features}), got {tuple(features.shape)}"
        )
    return features.to(torch.float32 if features.device.type == "mps" else torch.float64)


def _root(rows: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine and sine of the world-to-body yaw ``(..., frames)`` and the root's positions."""
    layout = skeleton.layout
    angle = torch.cumsum(_later(rows[..., layout.root_yaw]).squeeze(-1), dim=-1)  # half of the yaw
    cos, sin = torch.cos(2.0 * angle), torch.sin(2.0 * angle)
    step = _later(rows[..., layout.root_velocity])
    flat = torch.stack([step[..., 0], torch.zeros_like(angle), step[..., 1]], dim=-1)
    travelled = torch.cumsum(_turn(flat, cos, sin), dim=-2)
    height = rows[..., layout.root_height].squeeze(-1)
    return cos, sin, torch.stack([travelled[..., 0], height, travelled[..., 2]], dim=-1)


def _later(steps: Tensor) -> Tensor:
    """Steps t -> t+1 ``(..., frames, n)`` at the frame in which they have been made; none at the first."""
    return torch.cat([torch.zeros_like(steps[..., :1, :]), steps[..., :-1, :]], dim=-2)


def _turn(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Body to world: rotate ``(..., 3)`` about y by minus the world-to-body yaw."""
    x, y, z = vectors.unbind(-1)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], dim=-1)
