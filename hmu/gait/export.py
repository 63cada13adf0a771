"""Trials back into OpenSim tables, as they were recorded."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hmu.errors import DataError, shown
from hmu.gait import columns
from hmu.gait.columns import COORDINATES
from hmu.gait.coordinates import ANGLES, KNEES
from hmu.gait.filters import Array
from hmu.gait.mot import write_table
from hmu.gait.preprocess import cops_of, heels_and_toes, per_foot
from hmu.gait.rotations import about, from_euler, to_euler
from hmu.gait.skeleton import Skeleton
from hmu.gait.standard import coordinates
from hmu.gait.states import positions as root_positions
from hmu.gait.trial import Trial


def poses_from(trial: Trial) -> Array:
    """The 23 coordinates ``(frames, 23)`` of a trial, in radians and metres, as it is turned in its states."""
    root = trial.states[:, columns.ROOT_COLUMNS]
    if trial.root == "velocity":
        root = root_positions(torch.from_numpy(np.ascontiguousarray(root)), trial.height, trial.fps).numpy()
    return coordinates(trial.states, root + trial.start)


def _original(trial: Trial) -> tuple[Array, NDArray[np.float64], float]:
    """Poses as they were recorded (heading undone), the rotation back ``(3, 3)``, and the time of the first frame."""
    back = about("y", torch.tensor(-_noted(trial, "turn"), dtype=torch.float64)).numpy()
    poses = poses_from(trial)
    pelvis, root = columns.osim(columns.JOINTS_3D["pelvis"]), columns.osim(columns.ROOT)
    turned = torch.from_numpy(back) @ from_euler(torch.from_numpy(poses[:, pelvis]))
    poses[:, pelvis] = to_euler(turned).numpy()
    poses[:, root] = poses[:, root] @ back.T
    return poses, back, _noted(trial, "time")


def _noted(trial: Trial, key: str) -> float:
    """A number among the notes of a trial, 0 if it has none. Raises :class:`DataError` for one that is no number."""
    text = trial.notes.get(key, "0")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"trial {trial.name}: its note '{key}' is '{shown(text)}', expected a number")
    return number


def export_coordinates(path: Path | str, trial: Trial, *, degrees: bool | None = None) -> Path:
    """Write the kinematics of a trial as ``.mot``: an imported trial as it was, others in radians, flexion positive.

    Args:
        degrees: None = as in the file it came from, else radians.
    """
    poses, _, start = _original(trial)
    in_degrees = trial.notes.get("degrees", "no") == "yes" if degrees is None else degrees
    poses[:, columns.osim(KNEES)] *= -1.0 if trial.notes.get("knee_flexion") == "negative" else 1.0
    poses[:, columns.osim(ANGLES)] *= 180 / np.pi if in_degrees else 1.0
    return write_table(path, COORDINATES, _times(trial, start), poses, degrees=in_degrees)


def forces_of(trial: Trial) -> tuple[Array, Array]:
    """Forces (N) and centres of pressure (metres) of both feet, each ``(frames, 6)``, as recorded (heading undone).

    A foot that carries less than 20 N has no centre of pressure: it is 0, as from a force plate.
    """
    poses, back, _ = _original(trial)
    parts = {
        kind: np.concatenate([trial.states[:, columns_of[side]] for side in "rl"], 1)
        for kind, columns_of in (("force", columns.FORCE_COLUMNS), ("cop", columns.COP_COLUMNS))
    }
    force, normed = ((per_foot(parts[kind]) @ back.T).reshape(len(poses), 6) for kind in ("force", "cop"))
    force = force * trial.mass
    heels, _ = heels_and_toes(poses, Skeleton.generic(trial.height))
    return force, cops_of(normed, force, heels, trial.mass, trial.height)


def export_forces(path: Path | str, trial: Trial) -> Path:
    """Write forces and centres of pressure of both feet as ``.mot`` (newtons, metres), right foot first."""
    force, cops = forces_of(trial)
    names, parts = [], []
    for foot, side in enumerate("rl"):
        axes = slice(3 * foot, 3 * foot + 3)
        names += [f"ground_force_{side}_{kind}{axis}" for kind in "vp" for axis in "xyz"]
        parts += [force[:, axes], cops[:, axes]]
    start = _noted(trial, "time")
    return write_table(path, names, _times(trial, start), np.concatenate(parts, 1), degrees=False, title="Forces")


def _times(trial: Trial, start: float) -> Array:
    return start + np.arange(len(trial)) / trial.fps
