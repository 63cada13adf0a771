"""A stored trial as models read it: 100 Hz, root velocity over height."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hmu.gait import columns
from hmu.gait.filters import Array, fill_gaps, resample
from hmu.gait.preprocess import (
    BELT,
    STANCE,
    assemble,
    belt_speed,
    heels_and_toes,
    low_feet,
    root_velocity,
    toe_velocities,
)
from hmu.gait.skeleton import Skeleton
from hmu.gait.states import joint_matrices, to_osim
from hmu.gait.trial import Trial


def standard(trial: Trial, *, treadmill: bool | None = None) -> tuple[Trial, list[str]]:
    """A trial as models read it (100 Hz, root velocity over height), and what was done to it, in words.

    Frames marked as missing may hold anything; they are bridged before anything is filtered and stay marked.
    Columns that are rates are computed anew where the sampling rate changes: they depend on it.

    Raises:
        DataError: for a trial too short to filter.
    """
    notes: list[str] = []
    missing = trial.missing
    states = fill_gaps(np.where(missing[:, None] & ~np.isfinite(trial.states), np.nan, trial.states))
    if abs(trial.fps - columns.FPS) > 0.5:
        notes.append(f"resampled from {trial.fps:g} to {columns.FPS:g} Hz")
        states = resample(states, trial.fps, columns.FPS)
        missing = resample(missing.astype(float), trial.fps, columns.FPS) != 0
        states = refresh(states)
    if trial.root == "position":
        states, belt = _with_velocity(states, trial, treadmill)
        moved = f", relative to a belt of {-belt:.2f} m/s" if belt else ""
        notes.append(f"root positions in metres turned into velocity / height{moved}")
    return replace(trial, states=states, missing=missing, fps=columns.FPS, root="velocity"), notes


def refresh(states: Array) -> Array:
    """States ``(frames, 63)`` at 100 Hz with orthonormal rotations and all rates computed from the angles."""
    matrices, root = joint_matrices(torch.from_numpy(states)), states[:, columns.ROOT_COLUMNS]
    return assemble(matrices, states[:, columns.ANGLE_COLUMNS], states[:, columns.KINETIC_COLUMNS], root)


def _with_velocity(states: Array, trial: Trial, treadmill: bool | None) -> tuple[Array, float]:
    """States with root velocities instead of positions, and the mean speed of the ground under the feet (m/s)."""
    positions = states[:, columns.ROOT_COLUMNS]
    poses = coordinates(states, positions + trial.start)
    vertical = states[:, columns.states(["calcn_r_force_vy", "calcn_l_force_vy"])]
    heels, toes = heels_and_toes(poses, Skeleton.generic(trial.height))
    if trial.missing.all():
        belt = _belt_without_forces(heels, toes, treadmill)
    else:
        belt = belt_speed(toe_velocities(toes, vertical, columns.FPS), treadmill)
    result = states.copy()
    result[:, columns.ROOT_COLUMNS] = root_velocity(positions, belt, trial.height, columns.FPS)
    return result, float(belt.mean())


def _belt_without_forces(heels: Array, toes: Array, treadmill: bool | None) -> Array:
    """As :func:`belt_speed` where no force says which foot stands: a low, flat one most likely does, in the middle."""
    vertical = np.where(low_feet(heels, toes).all(-1), STANCE, 0.0)
    speeds = toe_velocities(toes, vertical, columns.FPS)[:, :, 0]
    speeds = speeds[np.isfinite(speeds)]
    speed = float(np.median(speeds)) if len(speeds) and treadmill is not False else 0.0
    return np.full(len(toes), speed if treadmill or speed < -BELT else 0.0)  # a belt runs backwards


def coordinates(states: Array, root: Array) -> Array:
    """The 23 coordinates ``(frames, 23)`` of states ``(frames, 63)``; ``root`` positions ``(frames, 3)`` in metres."""
    poses = to_osim(torch.from_numpy(np.ascontiguousarray(states, dtype=np.float64)), 1.0).numpy()
    poses[:, columns.osim(columns.ROOT)] = root
    return poses[:, : len(columns.COORDINATES)]
