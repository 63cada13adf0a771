"""Leaving the floor: jump with both feet, hop on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import ANKLES, Body
from hmu.motion.detectors.gait import airborne


@dataclass(frozen=True)
class Jump(Detector):
    """Both feet leave the floor together.

    Both feet's lower joints are above ``height`` for ``hold`` seconds, with the ankles within ``level`` of each other in
    height and ``split`` along the way, so that the flights of a run (one leg ahead of the other) and of a hop (one leg
    held up) are none.
    """

    name: ClassVar[str] = "jump"
    height: float = 0.06  #: metres
    hold: float = 0.10  #: seconds
    level: float = 0.12  #: metres
    split: float = 0.35  #: metres

    def __call__(self, body: Body) -> Found:
        """Look for a jump."""
        gap = np.abs(body.local[:, :, ANKLES[0]] - body.local[:, :, ANKLES[1]])
        together = (gap[..., 1] < self.level) & (gap[..., 2] < self.split)
        flight = airborne(body, self.height) & together
        return Found(any=series.longest(flight) >= round(self.hold * body.fps))


@dataclass(frozen=True)
class Hop(Detector):
    """A flight that starts and ends on the same foot.

    Both feet's lower joints are above ``height`` for ``hold`` seconds; from ``around`` seconds before to ``around`` after
    that, one foot touches the floor again and the other never comes below ``held`` nor swings faster than ``swing``
    ahead or back against the pelvis, as a running leg does.
    """

    name: ClassVar[str] = "hop"
    height: float = 0.035  #: metres
    held: float = 0.07  #: metres
    around: float = 0.3  #: seconds
    hold: float = 0.10  #: seconds
    swing: float = 2.2  #: m/s

    def __call__(self, body: Body) -> Found:
        """Look for hops on the left and on the right foot."""
        reach = round(self.around * body.fps)
        flight = airborne(body, self.height)
        hits = []
        for k in (0, 1):
            swung = np.abs(body.local_velocity[:, :, ANKLES[1 - k], 2]) > self.swing
            other_down = ((body.foot_height[:, :, 1 - k] < self.held) | swung) & body.mask
            own_down = (body.foot_height[:, :, k] < self.height) & body.mask
            alone = flight & ~series.within(other_down, reach, reach) & series.within(own_down, reach, reach)
            hits.append(series.longest(alone) >= round(self.hold * body.fps))
        return Found.of_sides(np.stack(hits, axis=1))
