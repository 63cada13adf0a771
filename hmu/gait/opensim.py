"""Trials from OpenSim's inverse kinematics and force plates, and back."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.columns import COORDINATES
from hmu.gait.filters import Array
from hmu.gait.mot import Table, read_table
from hmu.gait.preprocess import (
    CONTACT,
    align,
    assemble,
    check_cops,
    forward_difference,
    heels_and_toes,
    normed_cops,
    per_foot,
    pose_matrices,
    runs,
)
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import Trial

log = logging.getLogger(__name__)
ANGLES = tuple(name for name in COORDINATES if name not in columns.TRANSLATIONS)
KNEES = ("knee_angle_r", "knee_angle_l")
TOES = ("mtp_angle_r", "mtp_angle_l")
BENT = np.deg2rad(10.0)  # a knee that bends less in a whole trial tells nothing about its sign
SHORTEST = 0.5  # seconds that both files must share
LOW, SLOW, STANCE = 0.03, 0.4, 0.1  # metres above its floor, m/s, seconds: where a foot stands, by its motion
UNLOADED = 50.0  # N: a foot that stands and is never pressed harder stands beside the plates
MARGIN = 0.05  # seconds around such a stance that are marked too
SIDES = {"right": 0, "left": 1}


class Plate(NamedTuple):
    """One force plate: stem of its column names, force in newtons and centre of pressure in metres ``(frames, 3)``."""

    name: str
    force: Array
    cop: Array


@dataclass(frozen=True)
class ImportChoices:
    """What a user may say where the files do not.

    Attributes:
        feet: per plate ``right``, ``left`` or ``auto`` (by the centre of pressure); one word for all plates.
        knee: ``auto``, or the sign of flexion in the file: ``positive`` or ``negative``.
        degrees: whether angles are in degrees where the header does not say; None = an error then.
        skip_missing: leave frames unmarked in which a foot stands beside the plates.
    """

    feet: Sequence[str] | str = "auto"
    knee: str = "auto"
    degrees: bool | None = None
    skip_missing: bool = False


def poses_of(table: Table, choices: ImportChoices) -> tuple[Array, dict[str, str]]:
    """The 23 coordinates ``(frames, 23)`` in radians and metres, knee flexion positive, and what was noted.

    Raises:
        DataError: a coordinate is missing, or nothing says whether angles are in degrees.
    """
    absent = [name for name in COORDINATES if name not in table and name not in TOES]
    if absent:
        raise DataError(
            f"{table.path}: coordinate '{absent[0]}' is missing ({len(absent)} of 23); use a gait model's file"
        )
    degrees = table.degrees if table.degrees is not None else choices.degrees
    if degrees is None:
        raise DataError(f"{table.path}: the header lacks inDegrees; say degrees=true or degrees=false")
    extra = [name for name in table.names if name not in COORDINATES]
    if extra:
        log.info("%s: %d columns that gait models lack are left out: %s", table.path.name, len(extra), ", ".join(extra))
    poses = np.stack([table[name] if name in table else np.zeros(len(table.time)) for name in COORDINATES], 1)
    turning = columns.osim(ANGLES)
    poses[:, turning] *= np.pi / 180 if degrees else 1.0
    moved = [name for name in TOES if name in table and np.abs(table[name]).max() > 1e-6]
    if moved:
        log.warning("%s: %s moves; model states hold no toe angles, they are left out", table.path.name, moved[0])
    sign = _knee_sign(poses[:, columns.osim(KNEES)], choices.knee, table.path)
    poses[:, columns.osim(KNEES)] *= sign
    return poses, {"degrees": "yes" if degrees else "no", "knee_flexion": "positive" if sign > 0 else "negative"}


def _knee_sign(knees: Array, said: str, path: Path) -> float:
    if said in ("positive", "negative"):
        return 1.0 if said == "positive" else -1.0
    if said != "auto":
        raise DataError(f"{path}: knee={said}, expected auto, positive or negative")
    most, least = float(np.percentile(knees, 95)), float(np.percentile(knees, 5))
    if max(most, -least) < BENT:
        raise DataError(
            f"{path}: the knees hardly bend, so their sign cannot be told; say knee=positive or knee=negative"
        )
    if -least > most:
        log.info("%s: knee flexion is negative in this model; turned positive", path.name)
        return -1.0
    return 1.0


def plates_of(table: Table, times: Array) -> list[Plate]:
    """Every force plate of a table, interpolated at ``times``.

    Raises:
        DataError: when no three columns ``…vx …vy …vz`` with ``…px …py …pz`` are there.
    """
    stems = [m.group(1) for name in table.names if (m := re.fullmatch(r"(.*?)vx", name))]
    whole = [s for s in stems if all(f"{s}{kind}{axis}" in table for kind in "vp" for axis in "xyz")]
    if not whole:
        raise DataError(
            f"{table.path}: no force plate: expected columns like ground_force_vx … vz and ground_force_px … pz"
        )

    def vector(stem: str, kind: str) -> Array:
        return np.stack([np.interp(times, table.time, table[f"{stem}{kind}{axis}"]) for axis in "xyz"], 1)

    unused = [n for n in table.names if "torque" in n or "moment" in n]
    if unused:
        log.info("%s: free moments are left out, model states hold none: %s", table.path.name, ", ".join(unused))
    return [Plate(stem.rstrip("_"), vector(stem, "v"), vector(stem, "p")) for stem in whole]


def owners(plate: Plate, heels: Array, toes: Array) -> NDArray[np.int64]:
    """Which foot (0 right, 1 left) stands on a plate in each frame ``(frames,)``.

    Every contact belongs to the foot whose middle is nearest to its centre of pressure on average; frames between two
    contacts to the nearer one, so that a plate's noise is not lost.

    Args:
        heels, toes: ``(frames, 6)`` metres, right then left.
    """
    middle = (per_foot(heels) + per_foot(toes))[:, :, [0, 2]] / 2
    contacts = runs(plate.force[:, 1] > CONTACT)
    if not contacts:
        return np.zeros(len(plate.force), dtype=np.int64)
    centres, feet = [], []
    for start, stop in contacts:
        away = plate.cop[start:stop, None, [0, 2]] - middle[start:stop]
        feet.append(int(np.linalg.norm(away, axis=-1).mean(0).argmin()))
        centres.append((start + stop - 1) / 2)
    nearest = np.abs(np.arange(len(plate.force))[:, None] - np.array(centres)).argmin(1)
    return np.array(feet)[nearest]


def per_foot_forces(plates: Sequence[Plate], choices: ImportChoices, heels: Array, toes: Array) -> tuple[Array, Array]:
    """Forces and centres of pressure of both feet ``(frames, 6)`` each, right then left.

    Raises:
        DataError: when the user's words do not fit the plates.
    """
    said = [choices.feet] * len(plates) if isinstance(choices.feet, str) else list(choices.feet)
    if len(said) != len(plates) or any(word not in ("auto", *SIDES) for word in said):
        names = ", ".join(plate.name for plate in plates)
        raise DataError(f"feet={','.join(said)}: expected auto, right or left for each of the plates {names}")
    frames = len(heels)
    force, weighted, weight = np.zeros((frames, 2, 3)), np.zeros((frames, 2, 3)), np.zeros((frames, 2, 1))
    rows = np.arange(frames)
    for plate, word in zip(plates, said, strict=True):
        foot = owners(plate, heels, toes) if word == "auto" else np.full(frames, SIDES[word])
        share = np.bincount(foot, minlength=2) / frames
        log.info("plate '%s': right foot %.0f %%, left foot %.0f %% of the time", plate.name, *(100 * share))
        pressure = np.maximum(plate.force[:, 1:2], 0)
        force[rows, foot] += plate.force
        weighted[rows, foot] += pressure * plate.cop
        weight[rows, foot] += pressure
    cops = np.where(weight > 0, weighted / np.where(weight > 0, weight, 1), 0.0)
    return force.reshape(frames, 6), cops.reshape(frames, 6)


def beside_plates(forces: Array, heels: Array, toes: Array, fps: float) -> NDArray[np.bool_]:
    """Frames ``(frames,)`` in which a foot stands, by its motion, but is not pressed: it stands beside the plates.

    A foot stands where heel or toe is low and moves as the ground does (the ground of a treadmill moves).
    """
    marked = np.zeros(len(forces), dtype=bool)
    pressed = per_foot(forces)[:, :, 1] > UNLOADED
    speed = np.stack([per_foot(forward_difference(part, fps))[:, :, 0] for part in (heels, toes)], -1)
    low = _low(heels, toes)
    on_plate = pressed[..., None] & low
    ground = float(np.median(speed[on_plate])) if on_plate.any() else 0.0
    standing: NDArray[np.bool_] = np.any(low & (np.abs(speed - ground) < SLOW), axis=-1, keepdims=False)
    around = round(MARGIN * fps)
    for foot in range(2):
        for start, stop in runs(standing[:, foot]):
            if stop - start >= STANCE * fps and not pressed[start:stop, foot].any():
                marked[max(start - around, 0) : stop + around] = True
    return marked


def _low(heels: Array, toes: Array) -> NDArray[np.bool_]:
    """Whether heel and toe are near the height at which each stands ``(frames, 2 feet, 2 ends)``."""
    heights = np.stack([per_foot(part)[:, :, 1] for part in (heels, toes)], -1)
    floor = np.percentile(heights, 5, axis=0)
    below: NDArray[np.bool_] = np.asarray(heights < floor + LOW)
    return below


def import_trial(
    kinematics: Path | str,
    forces: Path | str,
    mass: float,
    height: float,
    *,
    name: str = "",
    label: str = "",
    subject: str = "",
    choices: ImportChoices | None = None,
) -> Trial:
    """A trial from an inverse-kinematics file and a force file, at the rate of the former, over their common time.

    It is turned so that it walks along x; the turn is noted and undone by :func:`hmu.gait.export.export_coordinates`.

    Args:
        kinematics, forces: OpenSim tables. mass: kilograms. height: metres.
        name, label, subject: see :class:`~hmu.gait.trial.Trial`.
        choices: what the files do not say.

    Raises:
        DataError: one line naming the file and what is wrong with it.
    """
    choices = choices or ImportChoices()
    motion, plates = read_table(kinematics), read_table(forces)
    kept, times = _overlap(motion, plates)
    poses, notes = poses_of(motion, choices)
    poses = poses[kept]
    skeleton = Skeleton.generic(height)
    heels, toes = heels_and_toes(poses, skeleton)
    force, cops = per_foot_forces(plates_of(plates, times), choices, heels, toes)
    far = check_cops(force, cops, heels, len(poses))
    if far is not None:
        raise DataError(f"{plates.path}: {far} (say feet=…, or check that both files are of one trial)")
    missing = (
        np.zeros(len(poses), dtype=bool) if choices.skip_missing else beside_plates(force, heels, toes, motion.fps)
    )
    if missing.any():
        log.info(
            "%s: %d of %d frames marked as missing (a foot beside the plates)",
            plates.path.name,
            missing.sum(),
            len(missing),
        )
    kinetics = np.concatenate([force / mass, normed_cops(force, cops, heels, mass, height)], 1)
    turned, kinetics, turn = align(poses, kinetics, str(motion.path), "default")
    root = turned[:, columns.osim(columns.ROOT)]
    ordered = kinetics.reshape(-1, 2, 2, 3).swapaxes(1, 2).reshape(-1, 12)
    angles = turned[:, columns.osim(columns.ANGLES)]
    states = assemble(pose_matrices(turned), angles, ordered, root - root[0], motion.fps)
    yaw = float(np.arctan2(turn[0, 2], turn[0, 0]))
    notes |= {"source": motion.path.name, "forces": plates.path.name, "turn": repr(yaw), "time": repr(float(times[0]))}
    return Trial(
        states, missing, float(height), float(mass), round(motion.fps, 6), root[0].copy(), "position", name, label,
        subject, notes,
    )  # fmt: skip


def _overlap(motion: Table, plates: Table) -> tuple[NDArray[np.bool_], Array]:
    """Which frames of ``motion`` lie inside the time of ``plates``, and their times."""
    slack = 1e-6
    kept = (motion.time >= plates.time[0] - slack) & (motion.time <= plates.time[-1] + slack)
    times = motion.time[kept]
    if len(times) < 2 or times[-1] - times[0] < SHORTEST:
        raise DataError(
            f"{motion.path} ({motion.time[0]:g} to {motion.time[-1]:g} s) and {plates.path} ({plates.time[0]:g} to "
            f"{plates.time[-1]:g} s) share less than {SHORTEST} s; are they of one trial?"
        )
    if not kept.all():
        log.info("%s: %d of %d frames have forces; the others are left out", motion.path.name, kept.sum(), len(kept))
    return kept, times
