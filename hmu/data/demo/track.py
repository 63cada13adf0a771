"""The control channels of a motion: what an action writes and the solver turns into joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from hmu.data.demo.curves import FPS, Array, keys

LEFT, RIGHT = 0, 1
HALF_STANCE = 0.09
SIDES = {"left": (LEFT,), "right": (RIGHT,), "both": (LEFT, RIGHT)}
Vector = tuple[float, float, float]
#: those that rest at zero, without their frames
_CHANNELS: dict[str, tuple[int, ...]] = {
    "pitch": (2,), "air": (2, 5), "support": (), "sway": (), "shift": (3,), "fly": (),
    "pelvis": (3,), "spine": (3,), "head": (2,), "elbow": (2, 3),
}  # fmt: skip


@dataclass
class State:
    """Where the performer stands: feet ``(2, 2)`` as (x, z) metres, their yaw ``(2,)``, resting hands ``(2, 3)``."""

    feet: Array
    yaw: Array
    hang: Array

    @property
    def heading(self) -> float:
        """The direction faced, radians, 0 = +z, positive to the left."""
        return float(self.yaw.mean())

    @property
    def ahead(self) -> Array:
        """The direction faced as a unit vector (x, z)."""
        return np.array([np.sin(self.heading), np.cos(self.heading)])

    @property
    def centre(self) -> Array:
        """The point between the feet, (x, z)."""
        return np.asarray(self.feet.mean(0))


@dataclass
class Track:
    """Channels per frame; lengths in metres for a body of leg scale 1, angles in radians; side 0 = left, 1 = right.

    Attributes:
        foot: ankle of the flat foot, y = lift above the planted height, ``(frames, 2, 3)``.
        yaw, pitch: of each foot; pitch > 0 lifts the heel about the ball, < 0 lifts the toes, ``(frames, 2)``.
        air: per leg (weight, thigh forward, thigh outward, knee flexion, plantar flexion) of a free leg that is
            posed by angles instead of a place on the floor, ``(frames, 2, 5)``.
        support: share of the weight moved to the left foot beyond an even stance, -0.5..0.5, ``(frames,)``.
        sway: how far weight follows the planted foot by itself while the other one swings, ``(frames,)``.
        shift: pelvis displacement (left, up, forward) in the facing frame, ``(frames, 3)``.
        height: intended pelvis height as a share of standing height, ``(frames,)``.
        fly: height added to pelvis in flight, ``(frames,)`` (the feet carry theirs in ``foot``).
        planted: 1 where a foot bears weight, ``(frames, 2)``.
        pelvis, spine: (yaw, pitch, roll) of the pelvis against the heading, of the chest against the pelvis,
            ``(frames, 3)``.
        head: (yaw, pitch) against the chest, ``(frames, 2)``.
        hand: shoulder -> wrist as unit direction (outward, up, forward) in the chest's frame, and reach as a share of
            the arm's length, ``(frames, 2, 4)``.
        elbow: added to the direction in which the elbow points (outward, up, forward), ``(frames, 2, 3)``.
    """

    foot: Array
    yaw: Array
    pitch: Array
    air: Array
    support: Array
    sway: Array
    shift: Array
    height: Array
    fly: Array
    planted: Array
    pelvis: Array
    spine: Array
    head: Array
    hand: Array
    elbow: Array

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.height)

    def set_arm(self, side: int, times: Sequence[float], places: Sequence[Vector | None], state: State) -> None:
        """Move a hand through places (outward, up, forward) / arm length, relative to the shoulder; None = hanging."""
        points = np.array([state.hang[side] if place is None else place for place in places], dtype=np.float64)
        self.hand[:, side] = keys(self.frames, times, split_reach(points))

    def lead_hand(self, side: int, weight: Array, place: ArrayLike, state: State) -> None:
        """Move a hand from where it hangs to one place (outward, up, forward) by ``weight`` ``(frames,)``."""
        hang = split_reach(state.hang[side])
        self.hand[:, side] = hang + weight[:, None] * (split_reach(np.asarray(place, dtype=np.float64)) - hang)

    def end_state(self, hang: Array) -> State:
        """The stance at the last frame, with resting hands ``(2, 3)``."""
        return State(self.foot[-1][:, [0, 2]].copy(), self.yaw[-1].copy(), hang)


def out_sign(side: int) -> float:
    """Sign of x on a side: +1 left, -1 right."""
    return 1.0 if side == LEFT else -1.0


def split_reach(points: Array) -> Array:
    """Vectors ``(..., 3)`` -> unit direction and length ``(..., 4)``."""
    reach = np.linalg.norm(points, axis=-1, keepdims=True)
    return np.concatenate([points / reach, reach], -1)


def rest(seconds: float, state: State) -> Track:
    """A track of ``round(20 seconds)`` frames in which the performer just stands at ``state``."""
    n = max(2, round(seconds * FPS))
    foot = np.zeros((n, 2, 3))
    foot[:, :, 0], foot[:, :, 2] = state.feet[:, 0], state.feet[:, 1]
    channels = {name: np.zeros((n, *shape)) for name, shape in _CHANNELS.items()}
    channels |= {"foot": foot, "yaw": np.repeat(state.yaw[None], n, 0), "planted": np.ones((n, 2))}
    hand = np.repeat(split_reach(state.hang)[None], n, 0)
    return Track(**channels, height=np.ones(n), hand=hand)


def join(tracks: Sequence[Track]) -> Track:
    """Tracks one after the other."""
    return Track(**{f.name: np.concatenate([getattr(t, f.name) for t in tracks]) for f in fields(Track)})


def start_state(rng: np.random.Generator) -> State:
    """A relaxed stance at the origin facing +z, feet turned out a little."""
    width = HALF_STANCE + rng.uniform(-0.01, 0.03)
    toe_out = rng.uniform(0.0, 0.15)
    hang = np.stack([_hang(rng), _hang(rng)])
    feet = np.array([[width, rng.uniform(-0.02, 0.02)], [-width, rng.uniform(-0.02, 0.02)]])
    return State(feet, np.array([toe_out, -toe_out]), hang)


def _hang(rng: np.random.Generator) -> Array:
    place = np.array([rng.uniform(0.1, 0.2), -0.95, rng.uniform(0.0, 0.14)])
    return np.asarray(place / np.linalg.norm(place) * rng.uniform(0.94, 0.98))
