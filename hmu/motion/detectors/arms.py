"""What arms do: punch, throw, clap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import SHOULDERS, WRISTS, Body


@dataclass(frozen=True)
class Punch(Detector):
    """A hand shoots forward at about shoulder height.

    Within ``window`` seconds the arm goes from below ``bent`` to above ``straight`` of its length; the wrist moves ahead
    (body frame) at ``speed`` or more, and ends ``ahead`` in front of the shoulder, no more than ``level`` above or below
    it. During the window the wrist never rises above the shoulder by ``overhead`` (that would be a throw).
    """

    name: ClassVar[str] = "punch"
    bent: float = 0.72  #: share of the arm's length
    straight: float = 0.88  #: share of the arm's length
    window: float = 0.4  #: seconds
    speed: float = 1.2  #: m/s
    ahead: float = 0.28  #: metres
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
        return Found.of_sides(np.stack(hits, axis=1))


@dataclass(frozen=True)
class Throw(Detector):
    """A hand comes over the shoulder and is flung forward and down.

    The wrist is above the shoulder by ``overhead`` and within ``window`` seconds moves ahead (body frame) at ``speed`` or
    more, from behind ``behind`` (against the shoulder) to ``ahead`` in front of it.
    """

    name: ClassVar[str] = "throw"
    overhead: float = 0.05  #: metres
    window: float = 0.5  #: seconds
    speed: float = 1.8  #: m/s
    behind: float = 0.05  #: metres
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
        return Found.of_sides(np.stack(hits, axis=1))


@dataclass(frozen=True)
class Clap(Detector):
    """The hands meet again and again in front of the body.

    While both wrists are above the pelvis and in front of it, their distance changes over between beyond +``amplitude``
    and beyond -``amplitude`` of its own mean over ``trend`` seconds at least ``swings`` times within ``window`` seconds,
    and comes below ``close``.
    """

    name: ClassVar[str] = "clap"
    close: float = 0.20  #: metres, between the wrists
    amplitude: float = 0.04  #: metres
    swings: int = 3  #: changes of side: two meetings and what lies between
    window: float = 2.0  #: seconds
    trend: float = 1.0  #: seconds

    def __call__(self, body: Body) -> Found:
        """Look for clapping."""
        hands = body.local[:, :, WRISTS]
        apart = np.linalg.norm(hands[:, :, 0] - hands[:, :, 1], axis=-1)
        front = (hands[..., 2].min(axis=-1) > 0.0) & (hands[..., 1].min(axis=-1) > body.pelvis_height)
        gate = front & body.mask
        flips = series.swing_flips(series.detrend(apart, round(self.trend * body.fps / 2)), gate, self.amplitude)
        wide = round(self.window * body.fps)
        met = series.within((apart < self.close) & gate, wide, wide)
        return Found(any=series.busiest(flips & met, wide) >= self.swings)


