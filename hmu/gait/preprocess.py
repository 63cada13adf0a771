"""From joint angles and force plates to model states.

Source: the data path of GaitDynamics, as measured in its golden vectors; ``variant="upstream"`` reproduces it, the
default leaves its errors out (each is named where it happens).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.filters import Array, fill_gaps, lowpass, slope
from hmu.gait.rotations import about, angular_velocity, from_euler, to_6d, to_euler
from hmu.gait.skeleton import Skeleton, forward

POSE_CUTOFF, ROOT_CUTOFF = 15.0, 10.0  # Hz
CONTACT = 20.0  # N: below it a centre of pressure means nothing
PRESSED = 50.0  # N: above it one must lie near its foot
FAR, FAR_SHARE = 0.3, 3 * 0.002  # metres; how many components may be farther, as a share of the frames
STANCE = 4.0  # N/kg: above it a foot carries weight
TURN = 45.0  # degrees: largest lumbar rotation and largest change of heading
LOW = 0.03  # metres above the height at which it stands: a foot that may stand
BELT = 0.3  # m/s: stance feet that move faster walk on a treadmill
_PELVIS = columns.osim(columns.JOINTS_3D["pelvis"])
_ROOT = columns.osim(columns.ROOT)


def heels_and_toes(poses: Array, skeleton: Skeleton) -> tuple[Array, Array]:
    """Positions of both heels and of both toes, each ``(frames, 6)``, right then left, metres."""
    feet = forward(torch.from_numpy(np.ascontiguousarray(poses, dtype=np.float64)), skeleton).feet.numpy()
    heels, toes = (feet[:, end::2].reshape(len(poses), 6) for end in (0, 1))
    return heels, toes


def per_foot(values: Array) -> Array:
    """``(frames, 6)`` as ``(frames, 2, 3)``."""
    return values.reshape(len(values), 2, 3)


def normed_cops(forces: Array, cops: Array, heels: Array, mass: float, height: float) -> Array:
    """``(cop - heel) * vertical force / mass / height`` ``(frames, 6)``, zero below :data:`CONTACT`."""
    vertical = per_foot(forces)[:, :, 1:2]
    arm = per_foot(cops) - per_foot(heels)
    return np.where(vertical < CONTACT, 0.0, arm * vertical / mass / height).reshape(len(forces), 6)


def cops_of(normed: Array, forces: Array, heels: Array, mass: float, height: float) -> Array:
    """The inverse of :func:`normed_cops`, ``(frames, 6)``; a foot without contact has its centre of pressure at 0."""
    vertical = per_foot(forces)[:, :, 1:2]
    pressed = vertical >= CONTACT
    arm = per_foot(normed) * height * mass / np.where(pressed, vertical, 1.0)
    return np.where(pressed, per_foot(heels) + arm, 0.0).reshape(len(forces), 6)


def check_cops(forces: Array, cops: Array, heels: Array, frames: int) -> str | None:
    """Why centres of pressure ``(frames, 6)`` cannot belong to these feet, or None."""
    pressed = per_foot(forces)[:, :, 1:2] > PRESSED
    far = int((np.abs(per_foot(cops) - per_foot(heels)) > FAR)[np.broadcast_to(pressed, (len(forces), 2, 3))].sum())
    if far <= FAR_SHARE * frames:
        return None
    return f"in {far} places the centre of pressure is more than {FAR} m from its foot: are the feet swapped?"


def headings(pelvis: Tensor, variant: str = "default") -> Array:
    """Directions in which the pelvis looks ``(frames,)``, radians, from matrices ``(frames, 3, 3)``.

    ``upstream`` leaves jumps of a full turn in, so that walking towards -180 degrees seems to turn all the time.
    """
    angles = torch.atan2(-pelvis[:, 0, 2], pelvis[:, 2, 2]).numpy()
    return angles if variant == "upstream" else np.unwrap(angles)


def low_feet(heels: Array, toes: Array) -> NDArray[np.bool_]:
    """Whether heel and toe are near the height at which each stands ``(frames, 2 feet, 2 ends)``."""
    heights = np.stack([per_foot(part)[:, :, 1] for part in (heels, toes)], -1)
    floor = np.percentile(heights, 5, axis=0)
    below: NDArray[np.bool_] = np.asarray(heights < floor + LOW)
    return below


def forward_difference(positions: Array, fps: float) -> Array:
    """``(x[t + 1] - x[t]) * fps``, the last frame repeated ``(frames, ...)``."""
    steps = np.diff(positions, axis=0) * fps
    return np.concatenate([steps, steps[-1:]])


def toe_velocities(toes: Array, vertical: Array, fps: float) -> Array:
    """Velocities of both ``toes`` ``(frames, 6)`` as ``(frames, 2, 3)`` in m/s, NaN where a foot does not stand.

    It stands where its ``vertical`` force per kilogram ``(frames, 2)`` reaches :data:`STANCE`.
    """
    velocity = per_foot(forward_difference(lowpass(toes, ROOT_CUTOFF, fps), fps))
    return np.where((vertical < STANCE)[:, :, None], np.nan, velocity)


def belt_speed(toes: Array, treadmill: bool | None) -> Array:
    """Forward speed ``(frames,)`` of the ground under the stance feet: the negative speed of a treadmill's belt.

    Args:
        toes: :func:`toe_velocities`.
        treadmill: False = solid ground, no speed at all. None = only if the stance feet move.
    """
    speeds = toes[:, :, 0]
    speeds = speeds[:, np.isfinite(speeds).any(0)]  # a foot that never stands says nothing: the other speaks for both
    still = treadmill is False or not speeds.shape[1]
    if still or (treadmill is None and abs(float(np.nanmedian(speeds))) <= BELT):
        return np.zeros(len(toes))
    return fill_gaps(speeds).mean(1)


def root_velocity(positions: Array, belt: Array, height: float, fps: float) -> Array:
    """Root velocity over height ``(frames, 3)`` from positions in metres, relative to a moving belt ``(frames,)``."""
    velocity = forward_difference(lowpass(positions, ROOT_CUTOFF, fps), fps)
    velocity[:, 0] -= belt
    return velocity / height


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where ``flags`` ``(frames,)`` are True, as ``[start, stop)`` in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def pose_matrices(poses: Array) -> Tensor:
    """Matrices ``(frames, 4, 3, 3)`` of pelvis, hips and lumbar from coordinates ``(frames, 23)``."""
    angles = torch.from_numpy(np.ascontiguousarray(poses, dtype=np.float64))
    return torch.stack([from_euler(angles[:, columns.osim(names)]) for names in columns.JOINTS_3D.values()], 1)


def assemble(matrices: Tensor, angles: Array, kinetics: Array, root: Array, fps: float = columns.FPS) -> Array:
    """Model states ``(frames, 63)``, their rates computed.

    Args:
        matrices: of the four joints ``(frames, 4, 3, 3)``. angles: the six scalar ones ``(frames, 6)``, radians.
        kinetics: ``(frames, 12)`` in the order of the columns. root: ``(frames, 3)``.
    """
    turning = lowpass(angular_velocity(matrices, fps).numpy(), POSE_CUTOFF, fps)
    speeds = slope(lowpass(angles, POSE_CUTOFF, fps))
    rotations, frames = to_6d(matrices).numpy(), len(matrices)
    parts = [root, angles, kinetics, rotations.reshape(frames, -1), turning.reshape(frames, -1), speeds]
    return np.concatenate(parts, 1)


def states_of(poses: Array, kinetics: Array, fps: float = columns.FPS) -> Array:
    """Model states ``(frames, 63)`` of coordinates ``(frames, 23)``, the root's position counted from its first frame.

    ``kinetics`` ``(frames, 12)``: forces of the right and the left foot, then their centres of pressure.
    """
    root = poses[:, _ROOT]
    by_foot = kinetics.reshape(-1, 2, 2, 3).swapaxes(1, 2).reshape(-1, 12)  # force and pressure of the right foot first
    return assemble(pose_matrices(poses), poses[:, columns.osim(columns.ANGLES)], by_foot, root - root[0], fps)


def align(poses: Array, kinetics: Array, name: str, variant: str) -> tuple[Array, Array, NDArray[np.float32]]:
    """Poses and kinetics turned about the vertical so that the pelvis looks along x on (the lower) median.

    ``poses`` are ``(frames, 23)``; ``kinetics`` any number of vectors per frame ``(frames, 3 n)``.

    Raises:
        DataError: when the heading changes by more than 45 degrees.
    """
    pelvis = from_euler(torch.from_numpy(poses[:, _PELVIS]))
    # the authors' rotation is made in float32; kept, it moves nothing by more than 1e-7
    angles = headings(pelvis.float(), variant)
    change = np.rad2deg(float(angles.max() - angles.min()))
    if change > TURN:
        raise DataError(
            f"{name}: the heading changes by {change:.0f} degrees, expected less than {TURN:g}; cut out a turn"
        )
    turn = about("y", torch.tensor(np.sort(angles)[(len(angles) - 1) // 2], dtype=torch.float32))
    matrix = turn.double().numpy()
    turned = poses.copy()
    turned[:, _PELVIS] = to_euler(turn.double() @ pelvis).numpy()
    turned[:, _ROOT] = poses[:, _ROOT] @ matrix.T
    vectors = (kinetics.reshape(len(kinetics), -1, 3) @ matrix.T).reshape(kinetics.shape)
    return turned, vectors, turn.numpy()
