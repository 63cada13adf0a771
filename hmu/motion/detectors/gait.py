"""Ways of getting about: walk, run, walk backwards, walk crouched, march, step sideways, turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._body import ANKLES, HIPS, KNEES, PELVIS, Body, Detector, Found, tilt

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

PACE_SMOOTHING = 0.2  #: seconds, Gaussian over the pelvis velocity: a stride's ups and downs are not changes of pace


def pace(body: Body) -> Array:
    """Pelvis velocity in the body frame without the sway of single steps, ``(batch, frames, 3)``, m/s."""
    return series.smooth(body.travel, body.lengths, PACE_SMOOTHING * body.fps)


def stride_flips(body: Body, amplitude: float, axis: int = 2) -> Bools:
    """Frames at which the other foot takes over in front (axis 2), or above (axis 1): one per step."""
    gap = body.local[:, :, ANKLES[0], axis] - body.local[:, :, ANKLES[1], axis]
    return series.swing_flips(gap, body.mask, amplitude)


def airborne(body: Body, height: float) -> Bools:
    """Frames with both feet's lower joints above ``height``."""
    return np.asarray((body.foot_height.min(axis=-1) > height) & body.mask)


def thigh_lift(body: Body) -> Array:
    """Angle between hip-to-knee and straight down, ``(batch, frames, 2)``, degrees."""
    thigh = body.world[:, :, KNEES] - body.world[:, :, HIPS]
    return tilt(-thigh)


@dataclass(frozen=True)
class Walk(Detector):
    """Steps forward without flight.

    The pelvis goes ahead (body frame; back for ``direction`` -1) at ``slow`` to ``fast`` for ``hold`` seconds without
    a break, faster ahead than sideways, and meanwhile the feet overtake each other at least ``steps`` times by
    ``stride`` either way. Crouched walking counts; running (see ``run``), marching (``march``) and walking backwards
    do not.
    """

    name: ClassVar[str] = "walk"
    slow: float = 0.30  #: m/s
    fast: float = 2.1  #: m/s
    hold: float = 1.0  #: seconds
    stride: float = 0.08  #: metres
    steps: int = 2  #: overtakings in the clip
    direction: float = 1.0  #: 1 = ahead, -1 = backwards

    def steps_taken(self, body: Body) -> Bools:
        """The frames of a steady walk at which a foot overtakes the other, ``(batch, frames)``."""
        speed = pace(body)
        ahead = speed[..., 2] * self.direction
        going = (ahead > self.slow) & (ahead < self.fast) & (ahead > np.abs(speed[..., 0])) & body.mask
        going &= ~Run().frames(body) & ~March().frames(body)
        steady = series.run_lengths(going) >= round(self.hold * body.fps)
        spread = round(self.hold * body.fps)
        steady = series.within(steady, 0, spread) & going
        return stride_flips(body, self.stride) & steady

    def __call__(self, body: Body) -> Found:
        """Look for walking ahead."""
        return Found(any=self.steps_taken(body).sum(axis=1) >= self.steps)


@dataclass(frozen=True)
class WalkBackwards(Detector):
    """As ``walk``, with the pelvis going backwards."""

    name: ClassVar[str] = "walk_backwards"
    slow: float = 0.25  #: m/s
    hold: float = 1.0  #: seconds
    stride: float = 0.06  #: metres
    steps: int = 2  #: overtakings in the clip

    def __call__(self, body: Body) -> Found:
        """Look for walking backwards."""
        return Walk(slow=self.slow, hold=self.hold, stride=self.stride, steps=self.steps, direction=-1.0)(body)


@dataclass(frozen=True)
class Run(Detector):
    """Fast, with flights from one foot to the other.

    The pelvis moves at ``speed`` or more for ``hold`` seconds, and in it both feet are above ``flight`` at some frame
    and a swinging leg folds to less than ``fold`` of its length; at ``sprint`` or more for ``hold`` seconds neither is
    asked for (smoothing hides the short flights of fast steps). The feet overtake each other by ``stride`` either way.
    """

    name: ClassVar[str] = "run"
    speed: float = 1.5  #: m/s
    flight: float = 0.035  #: metres
    fold: float = 0.77  #: share of the leg's length
    sprint: float = 2.1  #: m/s
    hold: float = 0.5  #: seconds
    stride: float = 0.10  #: metres

    def frames(self, body: Body) -> Bools:
        """The frames that belong to a run, ``(batch, frames)``."""
        speed = np.linalg.norm(pace(body)[..., [0, 2]], axis=-1)
        reach = round(self.hold * body.fps)
        folded = (body.leg_extension.min(axis=-1) < self.fold) & body.mask
        flights = series.within(airborne(body, self.flight), reach, reach) & series.within(folded, 2 * reach, 2 * reach)
        fast = ((speed > self.speed) & flights | (speed > self.sprint)) & body.mask
        steps = series.within(stride_flips(body, self.stride), 2 * reach, 2 * reach)
        long = series.within(series.run_lengths(fast) >= reach, 0, body.mask.shape[1])
        return np.asarray(fast & steps & long)

    def __call__(self, body: Body) -> Found:
        """Look for running."""
        return Found(any=np.asarray(self.frames(body).any(axis=1)))


@dataclass(frozen=True)
class CrouchWalk(Detector):
    """Walking (``walk``'s rule) with bent legs: the pelvis is below ``height`` at ``steps`` of its overtakings."""

    name: ClassVar[str] = "crouch_walk"
    height: float = 0.70  #: metres, pelvis above the floor; upright it is 0.85 to 0.9
    steps: int = 2  #: overtakings in the clip

    def __call__(self, body: Body) -> Found:
        """Look for crouched walking."""
        low = Walk().steps_taken(body) & (body.pelvis_height < self.height)
        return Found(any=low.sum(axis=1) >= self.steps)


@dataclass(frozen=True)
class March(Detector):
    """Knees are lifted high in turn over a straight supporting leg.

    One thigh is ``lift`` off the vertical with its leg below ``bent`` of its length, while the other leg is above
    ``support`` of its length and the pelvis slower than ``travel``; the lifted leg changes at least ``changes`` times
    within ``window`` seconds. Running is too fast and sneaking too bent to be a march. The frames within ``around``
    seconds of a lifted knee are no walking (see ``walk``).
    """

    name: ClassVar[str] = "march"
    lift: float = 44.0  #: degrees
    bent: float = 0.88  #: share of the leg's length
    support: float = 0.93  #: share of the leg's length
    changes: int = 2  #: changes of leg
    window: float = 3.0  #: seconds
    travel: float = 1.5  #: m/s
    around: float = 0.5  #: seconds around a lifted knee that are no walking

    def lifted(self, body: Body) -> Bools:
        """Where the left or the right knee is up as in a march, bool ``(batch, frames, 2)``."""
        slow = np.linalg.norm(pace(body)[..., [0, 2]], axis=-1) < self.travel
        high = (thigh_lift(body) > self.lift) & (body.leg_extension < self.bent)
        return np.asarray(high & (body.leg_extension > self.support)[:, :, ::-1] & (slow & body.mask)[:, :, None])

    def frames(self, body: Body) -> Bools:
        """The frames around lifted knees of clips with a march in them, ``(batch, frames)``."""
        reach = round(self.around * body.fps)
        near = series.within(np.asarray(self.lifted(body).any(axis=-1)), reach, reach)
        return near & self(body).any[:, None]

    def __call__(self, body: Body) -> Found:
        """Look for marching."""
        single = self.lifted(body)
        turn = single[:, :, 0].astype(np.float64) - single[:, :, 1]
        flips = series.swing_flips(turn, body.mask, 0.5)
        return Found(any=series.busiest(flips, round(self.window * body.fps)) >= self.changes)


@dataclass(frozen=True)
class StepSideways(Detector):
    """The body is carried sideways by steps, not by turning and walking.

    Within ``window`` seconds the pelvis travels ``distance`` to one side (body frame) and at most ``ahead`` times as
    much ahead or back, turning less than ``turn``.
    """

    name: ClassVar[str] = "step_sideways"
    window: float = 1.5  #: seconds
    distance: float = 0.25  #: metres
    ahead: float = 0.6  #: of the sideways distance
    turn: float = 30.0  #: degrees

    def __call__(self, body: Body) -> Found:
        """Look for steps to the left and to the right."""
        way = np.cumsum(body.travel * body.mask[..., None], axis=1) / body.fps
        wide = min(round(self.window * body.fps), way.shape[1] - 1)
        start = way.shape[1] - wide
        side, _, ahead = np.moveaxis(way[:, wide:] - way[:, :start], -1, 0)
        turned = np.abs(body.heading[:, wide:] - body.heading[:, :start]) < np.radians(self.turn)
        clean = (np.abs(ahead) < self.ahead * np.abs(side)) & turned
        return Found.of_sides((clean & (sign * side > self.distance)).any(axis=1) for sign in (1.0, -1.0))


@dataclass(frozen=True)
class Turn(Detector):
    """The hips' heading changes by ``angle`` within ``window`` seconds on a path that bends tightly, or on the spot.

    Looked for over a third, two thirds and all of the window; the path's mean radius (its length over the angle) is at
    most ``radius``: walking or running round a wide curve is no turn.
    """

    name: ClassVar[str] = "turn"
    angle: float = 58.0  #: degrees
    window: float = 1.5  #: seconds
    radius: float = 1.6  #: metres

    def __call__(self, body: Body) -> Found:
        """Look for turns to the left and to the right."""
        ground = np.linalg.norm(body.velocity[:, :, PELVIS][..., [0, 2]], axis=-1) / body.fps
        path = np.cumsum(ground, axis=1)
        hits = np.zeros((len(body.lengths), 2), dtype=np.bool_)
        for part in (1, 2, 3):
            wide = min(round(part * self.window * body.fps / 3), path.shape[1] - 1)
            start = path.shape[1] - wide
            turned = body.pelvis_heading[:, wide:] - body.pelvis_heading[:, :start]
            tight = (path[:, wide:] - path[:, :start] < self.radius * np.abs(turned)) & body.mask[:, wide:]
            for k, sign in enumerate((1.0, -1.0)):
                hits[:, k] |= (tight & (sign * np.degrees(turned) > self.angle)).any(axis=1)
        return Found.of_sides(hits.T)
