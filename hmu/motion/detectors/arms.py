"""What arms do: punch, throw, clap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import SHOULDERS, WRISTS, Body


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
        return Found.of_sides(np.stack(hits, axis=1))


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
        return Found.of_sides(np.stack(hits, axis=1))


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
