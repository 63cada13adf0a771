"""The 23 coordinates of a gait model from an OpenSim table: units, signs, and what the table does not say."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from hmu.errors import DataError, shown
from hmu.gait import columns
from hmu.gait.columns import COORDINATES
from hmu.gait.filters import Array
from hmu.gait.mot import Table

log = logging.getLogger(__name__)
ANGLES = tuple(name for name in COORDINATES if name not in columns.ROOT)
KNEES = ("knee_angle_r", "knee_angle_l")
TOES = ("mtp_angle_r", "mtp_angle_l")
BENT = np.deg2rad(10.0)  # a knee that bends less in a whole trial tells nothing about its sign
FULL_TURN = 2 * np.pi  # no knee or hip reaches it
PERSON = 10.0  # metres: no pelvis is higher above the floor


def poses_of(table: Table, knee: str = "auto", degrees: bool | None = None) -> tuple[Array, dict[str, str]]:
    """The 23 coordinates ``(frames, 23)`` in radians and metres, knee flexion positive, and what was noted.

    Args:
        table: of inverse kinematics, or of states (Moco).
        knee: ``auto``, or the sign of flexion in the file.
        degrees: None = as the header says.

    Raises:
        DataError: a coordinate is missing or not a number, or nothing says whether angles are in degrees.
    """
    absent = [name for name in COORDINATES if name not in table and name not in TOES]
    if absent:
        raise DataError(
            f"{table.path}: coordinate '{absent[0]}' is missing ({len(absent)} of 23); use a gait model's file"
        )
    in_degrees = table.degrees if degrees is None else degrees
    if in_degrees is None:
        raise DataError(f"{table.path}: the header lacks inDegrees; say degrees=true or degrees=false")
    table.require([name for name in COORDINATES if name in table])
    extra = [name for name in table.names if name not in COORDINATES]
    if extra:
        listed = shown(", ".join(extra), 200)
        log.info("%s: %d columns that gait models lack are left out: %s", table.path.name, len(extra), listed)
    poses = np.stack([table[name] if name in table else np.zeros(len(table.time)) for name in COORDINATES], 1)
    poses[:, columns.osim(ANGLES)] *= np.pi / 180 if in_degrees else 1.0
    _check_angles(poses, in_degrees, table.path)
    _to_metres(poses, table.path)
    moved = [name for name in TOES if name in table and np.abs(table[name]).max() > 1e-6]
    if moved:
        log.warning("%s: %s moves; model states hold no toe angles, they are left out", table.path.name, moved[0])
    sign = _knee_sign(poses[:, columns.osim(KNEES)], knee, in_degrees, table.path)
    poses[:, columns.osim(KNEES)] *= sign
    return poses, {"degrees": "yes" if in_degrees else "no", "knee_flexion": "positive" if sign > 0 else "negative"}


def _check_angles(poses: Array, degrees: bool, path: Path) -> None:
    """Refuse radians that are degrees: no knee and no hip turns around."""
    joints = columns.osim([*KNEES, "hip_flexion_r", "hip_flexion_l"])
    most = float(np.abs(poses[:, joints]).max())
    if most > FULL_TURN:
        unit, hint = ("degrees", "false") if degrees else ("radians", "true")
        raise DataError(
            f"{path}: its angles are said to be {unit}, but a knee or hip reaches {np.rad2deg(most):.0f} degrees; "
            f"say degrees={hint}, or mend the file"
        )


def _to_metres(poses: Array, path: Path) -> None:
    """Translations in metres, in place; a pelvis hundreds above the floor is in millimetres."""
    height = float(np.median(np.abs(poses[:, columns.osim(["pelvis_ty"])])))
    if height > 10 * PERSON:
        log.warning("%s: the pelvis is at %.0f: taken as millimetres and divided by 1000", path.name, height)
        poses[:, columns.osim(columns.ROOT)] /= 1000
    elif height > PERSON:
        raise DataError(f"{path}: the pelvis is at a height of {height:.0f}, expected metres; change the file's unit")


def _knee_sign(knees: Array, sign: str, degrees: bool, path: Path) -> float:
    if sign in ("positive", "negative"):
        return 1.0 if sign == "positive" else -1.0
    if sign != "auto":
        raise DataError(f"{path}: knee={shown(sign)}, expected auto, positive or negative")
    most, least = float(np.percentile(knees, 95)), float(np.percentile(knees, 5))
    if max(most, -least) < BENT:
        hint = ", or degrees=false if these are radians" if degrees else ""
        raise DataError(
            f"{path}: the knees hardly bend, so their sign cannot be told; say knee=positive or knee=negative{hint}"
        )
    if -least > most:
        log.info("%s: knee flexion is negative in this model; turned positive", path.name)
        return -1.0
    return 1.0
