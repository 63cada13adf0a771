"""Raised hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import SHOULDERS, WRISTS, Body
from hmu.motion.detectors.gait import airborne
from hmu.motion.detectors.leaps import Jump


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
            held = series.longest((wrist > self.height) & grounded) >= round(self.hold * body.fps)
            low, high = series.quantile(wrist, body.mask, 0.0), series.quantile(wrist, body.mask, 1.0)
            hits.append(held & (high - low > self.rise))
        return Found.of_sides(np.stack(hits, axis=1))
