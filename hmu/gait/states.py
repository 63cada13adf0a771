"""Between model states (63 columns) and OpenSim columns (23 coordinates + 12 kinetics), in torch with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.gait import columns
from hmu.gait.rotations import from_6d, to_euler

_EULER = [columns.osim(names) for names in columns.JOINTS_3D.values()]
_SCALARS = columns.osim(columns.ANGLES)
_ROOT = columns.osim(columns.ROOT)
_KINETICS = columns.osim(columns.KINETICS)


def joint_matrices(states: Tensor) -> Tensor:
    """Rotation matrices ``(..., 4, 3, 3)`` of pelvis, right hip, left hip and lumbar from states ``(..., 63)``."""
    return from_6d(states[..., columns.ROTATION_COLUMNS].unflatten(-1, (4, 6)))


def positions(velocity: Tensor, height: Tensor | float, fps: float = columns.FPS) -> Tensor:
    """Root positions in metres ``(..., frames, 3)`` from velocities divided by body height, by summation.

    Frame 0 is already one step away from the origin, as published.

    Args:
        velocity: ``(..., frames, 3)`` in 1/s. height: metres, ``(...)``.
    """
    tall = torch.as_tensor(height, dtype=velocity.dtype, device=velocity.device)
    return (velocity * tall[..., None, None]).cumsum(-2) / fps


def to_osim(states: Tensor, height: Tensor | float) -> Tensor:
    """Model states ``(..., frames, 63)`` to OpenSim columns ``(..., frames, 35)``; toe angles come back as 0.

    Args:
        states: real units, 100 Hz. height: of the body in metres, ``(...)``.
    """
    result = states.new_zeros(*states.shape[:-1], len(columns.OSIM))
    angles = to_euler(joint_matrices(states))
    for number, where in enumerate(_EULER):
        result[..., where] = angles[..., number, :]
    result[..., _ROOT] = positions(states[..., columns.ROOT_COLUMNS], height)
    result[..., _SCALARS] = states[..., columns.ANGLE_COLUMNS]
    result[..., _KINETICS] = states[..., columns.KINETIC_COLUMNS]
    return result
