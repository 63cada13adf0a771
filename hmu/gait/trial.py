"""One gait trial, and its file: ``.npz`` in the layout of GaitDynamics' exporters."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.documents import write_bytes
from hmu.errors import DataError, shown
from hmu.gait.columns import FEATURES, KINETIC_COLUMNS, ROOT_COLUMNS, STATES
from hmu.gait.npz import TrialFile

RATES = (40.0, 2000.0)  # Hz: slower is too coarse for a foot's contact, faster is a wrong unit
HEIGHTS, MASSES = (0.5, 2.5), (10.0, 250.0)
STANDING_HIP = (0.3, 1.6)  # metres: where a pelvis is, if the column is an absolute height
LARGEST = 1e5  # no column of a state comes near it
_ORIGIN = 1e-6


@dataclass(frozen=True)
class Trial:
    """A recording.

    Attributes:
        states: ``(frames, 63)`` in the units of :mod:`hmu.gait.columns`, but the root as ``root`` says.
        missing: True where kinetics are unreliable ``(frames,)``.
        height, mass: metres, kilograms. fps: frames per second.
        start: root position in frame 0 ``(3,)``, metres.
        root: ``velocity`` (divided by height, what models read) or ``position`` (metres from ``start``).
        name: path inside its data folder without ending. label: the condition, a concept of this data.
        subject: who walked; splits never share one.
        notes: what is worth knowing about its origin, by keyword (text).
    """

    states: NDArray[np.float64]
    missing: NDArray[np.bool_]
    height: float
    mass: float
    fps: float
    start: NDArray[np.float64]
    root: str
    name: str = ""
    label: str = ""
    subject: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states)


def place(path: Path, base: Path | None) -> tuple[str, str, str]:
    """``(name, subject, label)`` of a file in any depth below ``base``: first and last folder, empty without one."""
    relative = path.relative_to(base) if base is not None and path.is_relative_to(base) else Path(path.name)
    folders = relative.parts[:-1]
    return relative.with_suffix("").as_posix(), folders[0] if folders else "", folders[-1] if folders else ""


def read_trial(path: Path | str, base: Path | str | None = None, root: str = "auto") -> Trial:
    """Read one trial; columns may be in any order.

    Args:
        base: the data folder, for name, subject and label.
        root: what the root columns of the file hold: ``velocity``, ``position`` or ``auto`` (:func:`root_unit`).

    Raises:
        DataError: in one line naming file and key.
    """
    path = Path(path)
    with TrialFile(path) as file:
        states = _states(file)
        missing = _missing(file, len(states))
        height, mass = _within(file, "height_m", HEIGHTS, "metres"), _within(file, "weight_kg", MASSES, "kilograms")
        fps = _within(file, "sampling_rate", RATES, "Hz")
        start = file.array("pos_vec").astype(np.float64).ravel()
        if start.shape != (3,) or not np.isfinite(start).all():
            raise DataError(f"{path}: key 'pos_vec' has shape {start.shape}, expected 3 finite numbers")
        notes = _notes(file)
    _mend_missing(states, missing, path)
    unit = root_unit(states) if root == "auto" else root
    if unit == "absolute":
        states[:, ROOT_COLUMNS] -= start
        unit = "position"
    name, subject, label = place(path, None if base is None else Path(base))
    label = notes.pop("label", label)
    return Trial(states, missing, height, mass, fps, start, unit, name, label, subject, notes)


def _notes(file: TrialFile) -> dict[str, str]:
    if "note_keys" not in file:
        return {}
    keys, values = file.strings("note_keys"), file.strings("note_values")
    if len(keys) != len(values):
        raise DataError(f"{file.path}: holds {len(keys)} note_keys and {len(values)} note_values, expected as many")
    return dict(zip(keys, values, strict=True))


def _mend_missing(states: NDArray[np.float64], missing: NDArray[np.bool_], path: Path) -> None:
    """NaN in place of what cannot be, where frames are missing; elsewhere such values are an error."""
    bad = ~(np.abs(states) <= LARGEST)
    wrong = bad.copy()
    if missing.all():  # then the kinematics must be there: nothing else is
        wrong[:, KINETIC_COLUMNS] = False
    else:
        wrong[missing] = False
    if wrong.any():
        frame, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}: key 'model_states' holds NaN, infinity or more than {LARGEST:g} in {int(wrong.any(1).sum())} "
            f"frames that are not marked as missing (first: frame {frame}, column {STATES[column]}); mark or mend them"
        )
    states[bad] = np.nan


def _states(file: TrialFile) -> NDArray[np.float64]:
    """``model_states`` in our order of columns."""
    states = file.array("model_states").astype(np.float64)
    names = file.strings("model_states_columns")
    if states.ndim != 2 or len(states) == 0:
        raise DataError(
            f"{file.path}: key 'model_states' has shape {states.shape}, expected (frames, {FEATURES}), frames > 0"
        )
    if states.shape[1] != FEATURES or len(names) != FEATURES:
        raise DataError(
            f"{file.path}: key 'model_states' has {states.shape[1]} columns and {len(names)} names, expected {FEATURES}"
        )
    unknown = [name for name in names if name not in set(STATES)]
    if unknown or len(set(names)) != FEATURES:
        what = f"the unknown column '{shown(unknown[0])}'" if unknown else "a column twice"
        raise DataError(
            f"{file.path}: key 'model_states_columns' holds {what}; expected the {FEATURES} published names"
        )
    place_of = {name: index for index, name in enumerate(names)}
    return states[:, [place_of[name] for name in STATES]]


def _missing(file: TrialFile, frames: int) -> NDArray[np.bool_]:
    flags = file.array("probably_missing")
    if flags.shape != (frames,):
        raise DataError(
            f"{file.path}: key 'probably_missing' has shape {flags.shape}, expected ({frames},), one per frame"
        )
    return np.asarray(flags.astype(np.float64) != 0)  # all of them: its kinematics may still be completed


def _within(file: TrialFile, key: str, limits: tuple[float, float], unit: str) -> float:
    value = file.scalar(key)
    if not limits[0] <= value <= limits[1]:
        raise DataError(f"{file.path}: key '{key}' is {value:g}, expected {limits[0]:g} to {limits[1]:g} {unit}")
    return value


def root_unit(states: NDArray[np.float64]) -> str:
    """What the root columns of ``states`` ``(frames, 63)`` hold: ``velocity``, ``position`` or ``absolute`` (metres).

    Positions of the exporters begin at exactly 0 in all three columns, which no velocity does; absolute ones have the
    pelvis at hip height all the time.
    """
    root = states[:, ROOT_COLUMNS]
    if np.abs(root[0]).max() < _ORIGIN:
        return "position"
    hip = root[np.isfinite(root[:, 1]), 1]
    if len(hip) and STANDING_HIP[0] < hip.min() and hip.max() < STANDING_HIP[1]:
        return "absolute"
    return "velocity"


def write_trial(path: Path | str, trial: Trial) -> Path:
    """Write a trial atomically; equal trials give equal bytes (names as unicode, zip entries without a date)."""
    path = Path(path)
    notes = {**trial.notes} | ({"label": trial.label} if trial.label else {})
    arrays: dict[str, NDArray] = {
        "model_states": trial.states.astype(np.float32),
        "model_states_columns": np.array(STATES),
        "probably_missing": trial.missing.astype(bool),
        "height_m": np.asarray(trial.height),
        "weight_kg": np.asarray(trial.mass),
        "sampling_rate": np.asarray(int(trial.fps) if float(trial.fps).is_integer() else trial.fps),
        "pos_vec": trial.start.astype(np.float64),
    }
    if notes:
        arrays |= {"note_keys": np.array(list(notes)), "note_values": np.array(list(notes.values()))}
    write_bytes(path, npz_bytes(arrays))
    return path


def npz_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """An ``.npz`` of ``arrays`` of any shape, the same bytes every time."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict[str, Any](arrays))  # numpy dates its entries 1980-01-01
    return buffer.getvalue()
