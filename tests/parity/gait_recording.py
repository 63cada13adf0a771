"""What a laboratory records, as model states: GaitDynamics' own data path, from joint angles and plates to windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.columns import KINEMATIC_COLUMNS, WINDOW
from hmu.gait.filters import Array, interpolated, resample
from hmu.gait.preprocess import (
    TURN,
    align,
    belt_speed,
    check_cops,
    heels_and_toes,
    normed_cops,
    root_velocity,
    runs,
    states_of,
    toe_velocities,
)
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import Trial

_ROOT = columns.osim(columns.ROOT)
#: a trial of the authors' training is cut where one of these is exceeded, in the positive direction only
FASTEST_TURN, FASTEST_CHANGE = np.deg2rad(2000.0), 320.0  # rad/s (entries of matrices: 1/s), m/s^2
AROUND = 2  # frames left out on both sides of such a place
MOST_GAPS = 30  # a trial with more runs of missing frames is taken to be flagged by mistake
SHORTEST = 152  # frames at 100 Hz


@dataclass(frozen=True)
class Recording:
    """What a laboratory measures.

    Attributes:
        poses: the 23 coordinates ``(frames, 23)``, radians and metres, knee flexion positive.
        forces: on the right and the left foot ``(frames, 6)``, newtons.
        cops: centres of pressure ``(frames, 6)``, metres.
        missing: True where the kinetics are unreliable ``(frames,)``.
        mass, height: kilograms, metres. fps: frames per second.
        heels: origins of both heel bodies ``(frames, 6)``, metres; None = from the skeleton.
    """

    poses: Array
    forces: Array
    cops: Array
    missing: NDArray[np.bool_]
    mass: float
    height: float
    fps: float
    heels: Array | None = None

    def __len__(self) -> int:
        return len(self.poses)

    def cut(self, start: int, stop: int) -> Recording:
        """Frames ``start:stop``."""
        heels = None if self.heels is None else self.heels[start:stop]
        return replace(
            self,
            poses=self.poses[start:stop],
            forces=self.forces[start:stop],
            cops=self.cops[start:stop],
            missing=self.missing[start:stop],
            heels=heels,
        )


def trim_empty_ends(recording: Recording) -> Recording:
    """Without a first and a last frame in which no force or no centre of pressure is there at all."""
    empty = (recording.forces == 0).all(1) | (recording.cops == 0).all(1)
    return recording.cut(int(empty[0]), len(recording) - int(empty[-1])) if len(empty) else recording


@dataclass(frozen=True)
class Converted:
    """A converted trial with what the conversion found.

    Attributes:
        trial: at 100 Hz, root velocities. turn: rotation that made it walk along x ``(3, 3)``.
        toes: :func:`toe_velocities`.
    """

    trial: Trial
    turn: NDArray[np.float32]
    toes: Array


def convert(
    recording: Recording,
    skeleton: Skeleton,
    *,
    name: str = "",
    source: str = "",
    treadmill: bool | None = None,
    variant: str = "default",
) -> Converted:
    """A recording as model states at 100 Hz, turned so that it walks along x, or the reason why it is unusable.

    ``source`` is its path, by which ``upstream`` tells solid ground; ``treadmill``: see
    :func:`~hmu.gait.preprocess.belt_speed`.

    Raises:
        DataError: one line saying why the recording is rejected.
    """
    whole = _with_positions(recording, skeleton, name, source, variant)
    return _with_velocities([whole], _ground(treadmill, source, variant))[0]


def convert_for_training(
    recording: Recording,
    skeleton: Skeleton,
    *,
    window: int = WINDOW,
    name: str = "",
    source: str = "",
    treadmill: bool | None = None,
) -> list[Converted]:
    """As the authors' training reads a recording (``upstream``): cut at jumps, without parts that hold no window.

    Arguments and errors are :func:`convert`'s; ``window``: frames without a missing one that a part must have.
    """
    whole = _with_positions(recording, skeleton, name, source, "upstream")
    return _with_velocities(cut_at_jumps(whole, window), _ground(treadmill, source, "upstream"))


def solid_ground(source: str) -> bool:
    """Whether the authors take a recording for one on solid ground, by its path.

    Their list of such data sets is capitalised and compared with a lower-case path, so that only ``camargo`` (without
    its treadmill part ``_split5``) is ever found.
    """
    return "camargo" in source.lower() and "_split5" not in source.lower()


def _ground(treadmill: bool | None, source: str, variant: str) -> bool | None:
    """``upstream`` takes every ground for a moving belt, but :func:`solid_ground`."""
    return not solid_ground(source) if treadmill is None and variant == "upstream" else treadmill


def _with_positions(recording: Recording, skeleton: Skeleton, name: str, source: str, variant: str) -> Converted:
    """Everything but the root's velocity, which depends on where the trial is cut: its root holds positions."""
    recording = trim_empty_ends(recording)
    mass, height = recording.mass, recording.height
    _check_lumbar(recording, name)
    heels = heels_and_toes(recording.poses, skeleton)[0] if recording.heels is None else recording.heels
    far = check_cops(recording.forces, recording.cops, heels, len(recording))
    if far is not None:
        raise DataError(f"{name}: {far}")
    normed = normed_cops(recording.forces, recording.cops, heels, mass, height)
    missing = recording.missing if len(runs(recording.missing)) <= MOST_GAPS else np.zeros_like(recording.missing)
    poses, kinetics, turn = align(recording.poses, np.concatenate([recording.forces / mass, normed], 1), name, variant)
    if len(recording) / recording.fps * columns.FPS < SHORTEST:
        raise DataError(
            f"{name}: {len(recording) / recording.fps:.2f} s long, expected at least {SHORTEST / columns.FPS} s"
        )
    if int(recording.fps) != int(columns.FPS):
        at_rate = resample_upstream if variant == "upstream" else resample
        poses, kinetics = (at_rate(x, recording.fps, columns.FPS) for x in (poses, kinetics))
        missing = at_rate(missing.astype(float), recording.fps, columns.FPS) != 0
    toes = toe_velocities(heels_and_toes(poses, skeleton)[1], kinetics[:, [1, 4]], columns.FPS)
    if variant == "upstream" and solid_ground(source):
        toes = np.zeros_like(toes)
    start = poses[0, _ROOT].copy()
    states = states_of(poses, kinetics)
    return Converted(Trial(states, missing, height, mass, columns.FPS, start, "position", name), turn, toes)


def _with_velocities(parts: Sequence[Converted], treadmill: bool | None) -> list[Converted]:
    """Root velocities instead of positions; the parts of one trial share the gaps of their feet."""
    if not parts:
        return []
    belts = belt_speed(np.concatenate([part.toes for part in parts]), treadmill)
    ends = np.cumsum([len(part.trial) for part in parts])
    done = []
    for part, belt in zip(parts, np.split(belts, ends[:-1]), strict=True):
        states = part.trial.states.copy()
        positions = states[:, columns.ROOT_COLUMNS]
        states[:, columns.ROOT_COLUMNS] = root_velocity(positions, belt, part.trial.height, columns.FPS)
        done.append(replace(part, trial=replace(part.trial, states=states, root="velocity")))
    return done


def resample_upstream(x: NDArray, fps: float, target: float) -> Array:
    """As :func:`~hmu.gait.filters.resample`, ``(frames, ...)``, never with the last frame, also where it would fit."""
    return interpolated(x, np.arange(0, 1, fps / target / (len(x) - 1)) * (len(x) - 1))


def jumps(states: Array) -> NDArray[np.int64]:
    """Frames of states ``(frames, 63)`` with root *positions* in which something jumps, as the authors find them.

    A jump back is none to them: they compare without the absolute value.
    """
    speed = np.diff(states, axis=0, prepend=states[:1]) * columns.FPS
    change = np.zeros_like(states)
    change[1:-1] = (states[2:] - 2 * states[1:-1] + states[:-2]) * columns.FPS**2
    turning = [*columns.ANGLE_COLUMNS, *columns.ROTATION_COLUMNS]
    jumping = (speed[:, turning] > FASTEST_TURN).any(1) | (change[:, columns.ROOT_COLUMNS] > FASTEST_CHANGE).any(1)
    return np.flatnonzero(jumping)


def cut_at_jumps(whole: Converted, window: int) -> list[Converted]:
    """The parts between :func:`jumps` that hold ``window`` frames in a row without a missing one."""
    places = jumps(whole.trial.states).tolist()
    if not places:
        return [whole]
    edges = [0, *places, len(whole.trial)]
    bounds = [(a + AROUND, b - AROUND) for a, b in pairwise(edges)]
    parts = []
    for start, stop in bounds:
        missing = whole.trial.missing[start : max(stop, start)]
        if any(b - a >= window for a, b in runs(~missing)):
            trial = replace(whole.trial, states=whole.trial.states[start:stop], missing=missing)
            parts.append(replace(whole, trial=trial, toes=whole.toes[start:stop]))
    return parts


def _check_lumbar(recording: Recording, name: str) -> None:
    turn = np.rad2deg(recording.poses[:, columns.osim(["lumbar_rotation"])].mean())
    if abs(turn) > TURN:
        raise DataError(f"{name}: lumbar rotation is {turn:.0f} degrees on average, expected less than {TURN:g}")


# -- windows -----------------------------------------------------------------------------------------------------------
def starts(missing: NDArray[np.bool_], window: int = WINDOW, variant: str = "default") -> NDArray[np.int64]:
    """First frames of all windows that lie inside one run of clean frames.

    ``upstream`` allows *every* start where there is none, so that it trains on frames marked as missing.
    """
    clean = np.concatenate([[0], np.cumsum(missing)])
    inside = np.flatnonzero(clean[window:] == clean[: max(len(missing) - window + 1, 0)])
    if variant == "upstream" and not len(inside):
        return np.arange(max(len(missing) - window + 1, 0))
    return inside


def tile(frames: int, window: int, step: int, *, short: bool) -> list[tuple[int, int]]:
    """Windows ``[start, stop)`` every ``step`` frames; the last ones end with the trial and may be shorter.

    ``short`` goes on until no frame is left; else the first window that reaches the end is the last.
    """
    last = frames if short else frames - window + step
    return [(start, min(start + window, frames)) for start in range(0, max(last, 0), step)]


def padded(states: NDArray, start: int, stop: int, window: int, *, right: bool = False) -> tuple[NDArray, NDArray]:
    """Frames ``start:stop`` in a window of zeros, with a mask of known kinematics, both ``(window, 63)``.

    ``right`` puts them at the window's end instead of its beginning.
    """
    count = stop - start
    values = np.zeros((window, states.shape[1]), states.dtype)
    known = np.zeros((window, states.shape[1]), np.uint8)
    first = window - count if right else 0
    values[first : first + count] = states[start:stop]
    known[first : first + count, KINEMATIC_COLUMNS] = 1
    return values, known
