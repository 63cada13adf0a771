"""Trials from OpenSim's inverse kinematics and force plates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.coordinates import poses_of
from hmu.gait.filters import Array
from hmu.gait.mot import Table, read_table
from hmu.gait.plates import in_metres, per_foot_forces, plates_of
from hmu.gait.preprocess import (
    align,
    check_cops,
    forward_difference,
    heels_and_toes,
    low_feet,
    normed_cops,
    per_foot,
    runs,
    states_of,
)
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import RATES, Trial
from hmu.gait.weighing import weigh_feet, weigh_plates

log = logging.getLogger(__name__)
SHORTEST = 0.5  # seconds that both files must share
SLOW, STANCE = 0.4, 0.1  # m/s, seconds: where a low foot stands, by its motion
UNLOADED = 50.0  # N: a foot that stands and is never pressed harder stands beside the plates
MARGIN = 0.05  # seconds around such a stance that are marked too


@dataclass(frozen=True)
class ImportChoices:
    """What a user may say where the files do not.

    Attributes:
        feet: per plate ``right``, ``left`` or ``auto`` (by the centre of pressure); one word for all plates.
        knee: ``auto``, or the sign of flexion in the file: ``positive`` or ``negative``.
        degrees: whether angles are in degrees, whatever the header says; None = as it says.
        skip_missing: leave frames unmarked in which a foot stands beside the plates.
        forces_check: refuse forces that cannot carry the person (:mod:`hmu.gait.weighing`).
    """

    feet: Sequence[str] | str = "auto"
    knee: str = "auto"
    degrees: bool | None = None
    skip_missing: bool = False
    forces_check: bool = True


def beside_plates(forces: Array, heels: Array, toes: Array, fps: float) -> NDArray[np.bool_]:
    """Frames ``(frames,)`` in which a foot stands, by its motion, but is not pressed: it stands beside the plates.

    A foot stands where heel or toe is low and moves as the ground does (the ground of a treadmill moves).
    """
    marked = np.zeros(len(forces), dtype=bool)
    pressed = per_foot(forces)[:, :, 1] > UNLOADED
    speed = np.stack([per_foot(forward_difference(part, fps))[:, :, 0] for part in (heels, toes)], -1)
    low = low_feet(heels, toes)
    on_plate = pressed[..., None] & low
    ground = float(np.median(speed[on_plate])) if on_plate.any() else 0.0
    standing: NDArray[np.bool_] = np.any(low & (np.abs(speed - ground) < SLOW), axis=-1, keepdims=False)
    around = round(MARGIN * fps)
    for foot in range(2):
        for start, stop in runs(standing[:, foot]):
            if stop - start >= STANCE * fps and not pressed[start:stop, foot].any():
                marked[max(start - around, 0) : stop + around] = True
    return marked


def import_trial(
    kinematics: Path | str,
    forces: Path | str | None,
    mass: float,
    height: float,
    *,
    name: str = "",
    label: str = "",
    choices: ImportChoices | None = None,
) -> Trial:
    """A trial from an inverse-kinematics file and a force file, at the rate of the former, over their common time.

    It is turned so that it walks along x; the turn is noted and undone by :func:`hmu.gait.export.export_coordinates`.

    Args:
        kinematics, forces: OpenSim tables; no forces = every frame is marked as missing.
        mass, height: kilograms, metres.

    Raises:
        DataError: one line naming the file and what is wrong with it.
    """
    choices = choices or ImportChoices()
    motion = read_table(kinematics, gaps=True)
    if not RATES[0] <= motion.fps <= RATES[1]:
        rate = f"has {motion.fps:.4g} rows per second, expected {RATES[0]:g} to {RATES[1]:g}"
        raise DataError(f"{motion.path}: {rate}; is its time in seconds?")
    plates = None if forces is None else read_table(forces, gaps=True)
    shared, times = _overlap(motion, plates)
    poses, notes = poses_of(motion, choices.knee, choices.degrees)
    poses = poses[shared]
    kinetics, missing = np.zeros((len(poses), 12)), np.ones(len(poses), dtype=bool)
    if plates is not None:
        kinetics, missing = _kinetics(plates, times, poses, (mass, height), motion.fps, choices)
    poses, kinetics, turn = align(poses, kinetics, str(motion.path), "default")
    states, start = states_of(poses, kinetics, motion.fps), poses[0, columns.osim(columns.ROOT)]
    yaw = float(np.arctan2(turn[0, 2], turn[0, 0]))
    notes |= {"source": motion.path.name, "turn": repr(yaw), "time": repr(float(times[0]))}
    notes |= {} if plates is None else {"forces": plates.path.name}
    fps = round(motion.fps, 6)
    return Trial(states, missing, float(height), float(mass), fps, start, "position", name, label, notes=notes)


def _kinetics(
    table: Table, times: Array, poses: Array, body: tuple[float, float], fps: float, choices: ImportChoices
) -> tuple[Array, NDArray[np.bool_]]:
    """Forces and centres of pressure of both feet ``(frames, 12)`` as states hold them, and where they are missing."""
    mass, height = body
    heels, toes = heels_and_toes(poses, Skeleton.generic(height))
    plates = in_metres(plates_of(table, times), heels, table.path)
    fault = weigh_plates(plates, mass)
    _check_weight(fault, table.path, choices)
    force, cops = per_foot_forces(plates, choices.feet, heels, toes)
    far = check_cops(force, cops, heels, len(heels))
    if far is not None:
        raise DataError(f"{table.path}: {far} (say feet=…, or check that both files are of one trial)")
    beside = beside_plates(force, heels, toes, fps)
    if fault is None:
        _check_weight(weigh_feet(force, beside, mass, fps), table.path, choices)
    missing = np.zeros_like(beside) if choices.skip_missing else beside
    if missing.all():
        log.warning(
            "%s: a foot stands beside the plates in every frame: only the kinematics are of use", table.path.name
        )
    elif missing.any():
        marked = f"{missing.sum()} of {len(missing)} frames marked as missing"
        log.info("%s: %s (a foot beside the plates)", table.path.name, marked)
    return np.concatenate([force / mass, normed_cops(force, cops, heels, mass, height)], 1), missing


def _check_weight(fault: str | None, path: Path, choices: ImportChoices) -> None:
    if fault is None:
        return
    if choices.forces_check:
        raise DataError(f"{path}: {fault}")
    log.warning("%s: %s", path.name, fault.rpartition(" (")[0])


def _overlap(motion: Table, plates: Table | None) -> tuple[NDArray[np.bool_], Array]:
    """Which frames of ``motion`` lie inside the time of ``plates``, and their times."""
    if plates is None:
        plates = motion
    slack = 1e-6
    shared = (motion.time >= plates.time[0] - slack) & (motion.time <= plates.time[-1] + slack)
    times = motion.time[shared]
    if len(times) < 2 or times[-1] - times[0] < SHORTEST:
        raise DataError(
            f"{motion.path} ({motion.time[0]:g} to {motion.time[-1]:g} s) and {plates.path} ({plates.time[0]:g} to "
            f"{plates.time[-1]:g} s) share less than {SHORTEST} s; are they of one trial?"
        )
    if not shared.all():
        log.info(
            "%s: %d of %d frames have forces; the others are left out", motion.path.name, shared.sum(), len(shared)
        )
    return shared, times
