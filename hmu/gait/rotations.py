"""Euler angles, matrices and 6D rotations of gait states, in torch with gradients; every function broadcasts.

Source: OpenSim's body-fixed rotations. A joint of the model turns by ``R = Rz(a0) Rx(a1) Ry(a2)`` (order ``zxy``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.gait.columns import FPS

_AXES = {"x": 0, "y": 1, "z": 2}
_TINY = 1e-12


def about(axis: str, angle: Tensor) -> Tensor:
    """Rotation matrices ``(..., 3, 3)`` by ``angle`` ``(...)`` in radians about the axis ``x``, ``y`` or ``z``."""
    i = _AXES[axis]
    j, k = (i + 1) % 3, (i + 2) % 3
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    entries = [[zero] * 3 for _ in range(3)]
    entries[i][i] = one
    entries[j][j] = entries[k][k] = cos
    entries[j][k], entries[k][j] = -sin, sin
    return torch.stack([torch.stack(row, -1) for row in entries], -2)


def from_euler(angles: Tensor, order: str = "zxy") -> Tensor:
    """Body-fixed angles ``(..., 3)`` in radians to matrices ``(..., 3, 3)``, first axis leftmost."""
    first, second, third = (about(axis, angles[..., n]) for n, axis in enumerate(order))
    return first @ second @ third


def to_euler(matrix: Tensor, order: str = "zxy") -> Tensor:
    """Matrices ``(..., 3, 3)`` to body-fixed angles ``(..., 3)`` in radians; ``order`` has three different axes."""
    i, j, k = (_AXES[axis] for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle = torch.asin((sign * matrix[..., i, k]).clamp(-1, 1))
    outer = torch.atan2(-sign * matrix[..., j, k], matrix[..., k, k])
    inner = torch.atan2(-sign * matrix[..., i, j], matrix[..., i, i])
    return torch.stack([outer, middle, inner], -1)


def to_6d(matrix: Tensor) -> Tensor:
    """The first two rows of matrices ``(..., 3, 3)``, one after the other ``(..., 6)``."""
    return matrix[..., :2, :].flatten(-2)


def from_6d(rows: Tensor) -> Tensor:
    """Any ``(..., 6)`` to matrices ``(..., 3, 3)``: Gram-Schmidt on the rows, cross product (Zhou et al. 2019)."""
    a, b = rows[..., :3], rows[..., 3:]
    first = a / a.norm(dim=-1, keepdim=True).clamp(min=_TINY)
    rest = b - (first * b).sum(-1, keepdim=True) * first
    second = rest / rest.norm(dim=-1, keepdim=True).clamp(min=_TINY)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -2)


def angular_velocity(matrix: Tensor, fps: float = FPS) -> Tensor:
    """What the 12 columns of a model state hold of matrices ``(frames, ..., 3, 3)``: ``(frames, ..., 3)`` in 1/s.

    ``fps / 2 vee(dR - dR^T)`` with ``dR = R[t] - R[t + 1]``, the last frame repeated. Its sign is the reverse of a
    velocity's and it is no body rate for large angles; a pretrained normaliser expects it.
    """
    change = matrix[:-1] - matrix[1:]
    skew = change - change.mT
    rate = 0.5 * fps * torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
    return torch.cat([rate, rate[-1:]])
