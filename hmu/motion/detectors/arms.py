"""What arms do: punch, throw, clap, wave, rise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._body import SHOULDERS, WRISTS, Body, Detector, Found
from hmu.motion.detectors.gait import airborne
from hmu.motion.detectors.legs import Jump


@dataclass(frozen=True)
class Punch(Detector):
    """A hand shoots forward at about shoulder height.

    Within ``window`` seconds the arm goes from below ``bent`` to above ``straight`` of its length; the wrist moves
    ahead (body frame) at ``speed`` or more, and ends ``ahead`` in front of the shoulder, no more than ``level`` above
    or below it. During the window the wrist never rises above the shoulder by ``overhead`` (that would be a throw).
    """

    name: ClassVar[str] = "punch"
    bent: float = 0.68  #: share of the arm's length
    straight: float = 0.78  #: share of the arm's length
    window: float = 0.4  #: seconds
    speed: float = 0.9  #: m/s
    ahead: float = 0.25  #: metres
    level: float = 0.25  #: metres
    overhead: float = 0.15  #: metres

    def __call__(self, body: Body) -> Found:
        """Look for punches of either hand."""
        arm = body.local[:, :, WRISTS] - body.local[:, :, SHOULDERS]
        back = round(self.window * body.fps)
        hits = []
        for k in (0, 1):
            out = (body.arm_extension[:, :, k] > self.straight) & (arm[:, :, k, 2] > self.ahead)
            out &= np.abs(arm[:, :, k, 1]) < self.level
            was_bent = series.within(body.arm_extension[:, :, k] < self.bent, back, 0)
            fast = series.within(body.local_velocity[:, :, WRISTS[k], 2] > self.speed, back, 0)
            over = series.within(arm[:, :, k, 1] > self.overhead, back, 0)
            hits.append((out & was_bent & fast & ~over & body.mask).any(axis=1))
        return Found.of_sides(hits)


@dataclass(frozen=True)
class Throw(Detector):
    """A hand comes over the shoulder and is flung forward and down.

    The wrist is above the shoulder by ``overhead`` and within ``window`` seconds moves ahead (body frame) at
    ``speed`` or more, from less than ``behind`` ahead of the shoulder (negative: it is behind) to ``ahead`` in front
    of it.
    """

    name: ClassVar[str] = "throw"
    overhead: float = 0.05  #: metres
    window: float = 0.5  #: seconds
    speed: float = 1.8  #: m/s
    behind: float = -0.04  #: metres
    ahead: float = 0.25  #: metres

    def __call__(self, body: Body) -> Found:
        """Look for overhand throws of either hand."""
        arm = body.local[:, :, WRISTS] - body.local[:, :, SHOULDERS]
        back = round(self.window * body.fps)
        hits = []
        for k in (0, 1):
            start = (arm[:, :, k, 1] > self.overhead) & (arm[:, :, k, 2] < self.behind)
            fast = series.within(body.local_velocity[:, :, WRISTS[k], 2] > self.speed, back, 0)
            end = (arm[:, :, k, 2] > self.ahead) & fast & body.mask
            hits.append((end & series.within(start, back, 0)).any(axis=1))
        return Found.of_sides(hits)


@dataclass(frozen=True)
class Clap(Detector):
    """The hands meet again and again in front of the body.

    A meeting is a frame at which the wrists' distance is smaller than anywhere within ``apart`` seconds around, below
    ``close``, and exceeded by ``opening`` both within ``beat`` seconds before and after. The wrists come from the
    sides: within ``apart`` seconds twice their sideways relative speed reaches ``speed`` and beats the fore-and-aft
    one (arms that swing past each other in walking do not clap). Both are in front of the pelvis, above it, at most
    ``high`` above the shoulders and within ``level`` of each other. There are at least ``meetings`` within ``window``
    seconds.
    """

    name: ClassVar[str] = "clap"
    close: float = 0.22  #: metres, between the wrists
    opening: float = 0.04  #: metres
    beat: float = 0.4  #: seconds
    apart: float = 0.1  #: seconds
    level: float = 0.12  #: metres
    high: float = 0.20  #: metres
    speed: float = 0.45  #: m/s
    meetings: int = 2  #: within the window
    window: float = 2.0  #: seconds

    def meets(self, body: Body) -> NDArray[np.bool_]:
        """The frames at which the hands meet, ``(batch, frames)``."""
        hands = body.local[:, :, WRISTS]
        gap = np.linalg.norm(hands[:, :, 0] - hands[:, :, 1], axis=-1)
        near, beat = round(self.apart * body.fps), round(self.beat * body.fps)
        least = (gap <= series.extreme(gap, near, near, largest=False)) & (gap < self.close)
        opens = series.extreme(gap, beat, 0, largest=True), series.extreme(gap, 0, beat, largest=True)
        meet = least & (np.minimum(*opens) > gap + self.opening) & body.mask
        meet &= (hands[..., 2].min(axis=-1) > 0.0) & (hands[..., 1].min(axis=-1) > body.pelvis_height)
        meet &= hands[..., 1].max(axis=-1) < body.local[:, :, SHOULDERS, 1].mean(axis=-1) + self.high
        passing = np.abs(body.local_velocity[:, :, WRISTS[0]] - body.local_velocity[:, :, WRISTS[1]])
        side, ahead = (series.extreme(passing[..., axis], 2 * near, 2 * near, largest=True) for axis in (0, 2))
        meet &= (side > self.speed) & (side > ahead)
        meet &= np.abs(hands[:, :, 0, 1] - hands[:, :, 1, 1]) < self.level
        return np.asarray(meet)

    def __call__(self, body: Body) -> Found:
        """Look for clapping."""
        return Found(any=series.busiest(self.meets(body), round(self.window * body.fps)) >= self.meetings)


@dataclass(frozen=True)
class Wave(Detector):
    """A raised hand swings from side to side.

    While the wrist is above the shoulder less ``below``, its sideways position against the shoulder (body frame, less
    its own mean over ``trend`` or, for quick waves, ``quick`` seconds) changes over between beyond +``amplitude`` and
    beyond -``amplitude`` at least ``swings`` times within ``window`` seconds. Hands that clap do not wave: in a clip
    with claps (see ``clap``) the frames within ``clapping`` seconds of a meeting of the hands do not count.
    """

    name: ClassVar[str] = "wave"
    below: float = 0.05  #: metres
    amplitude: float = 0.03  #: metres
    swings: int = 3  #: changes of side
    window: float = 2.0  #: seconds
    trend: float = 1.0  #: seconds
    quick: float = 0.6  #: seconds
    clapping: float = 0.5  #: seconds

    def __call__(self, body: Body) -> Found:
        """Look for a wave of either hand."""
        arm = body.local[:, :, WRISTS] - body.local[:, :, SHOULDERS]
        around = round(self.clapping * body.fps)
        claps = series.within(Clap().meets(body), around, around) & Clap()(body).any[:, None]
        hits = []
        for k in (0, 1):
            gate = (arm[:, :, k, 1] > -self.below) & body.mask & ~claps
            hit = np.zeros(len(body.lengths), dtype=np.bool_)
            for trend in (self.trend, self.quick):
                swing = series.detrend(arm[:, :, k, 0], round(trend * body.fps / 2))
                flips = series.swing_flips(swing, gate, self.amplitude)
                hit |= series.busiest(flips, round(self.window * body.fps)) >= self.swings
            hits.append(hit)
        return Found.of_sides(hits)


@dataclass(frozen=True)
class RaiseArms(Detector):
    """A hand goes up: the wrist stays ``height`` above its shoulder for ``hold`` seconds and has risen by ``rise``.

    Frames within ``leap`` seconds of a flight do not count (arms swing up in a jump). Waving and throwing overhand
    raise hands too, and are found.
    """

    name: ClassVar[str] = "raise_arms"
    height: float = 0.08  #: metres
    hold: float = 0.25  #: seconds
    leap: float = 0.2  #: seconds
    rise: float = 0.25  #: metres, from the clip's lowest wrist to its highest, against the shoulder

    def __call__(self, body: Body) -> Found:
        """Look for a raised left or right hand."""
        up = body.world[:, :, WRISTS, 1] - body.world[:, :, SHOULDERS, 1]
        reach = round(self.leap * body.fps)
        grounded = body.mask & ~series.within(airborne(body, Jump.height), reach, reach)
        hits = []
        for k in (0, 1):
            wrist = up[:, :, k]
            stays = series.longest((wrist > self.height) & grounded) >= round(self.hold * body.fps)
            low, high = series.quantile(wrist, body.mask, 0.0), series.quantile(wrist, body.mask, 1.0)
            hits.append(stays & (high - low > self.rise))
        return Found.of_sides(hits)
