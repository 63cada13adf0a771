"""Waves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import SHOULDERS, WRISTS, Body
from hmu.motion.detectors.arms import Clap


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
        return Found.of_sides(np.stack(hits, axis=1))
