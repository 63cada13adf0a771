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

    While the wrist is above the shoulder less ``below``, its sideways position against the shoulder (body frame, less its
    own mean over ``trend`` seconds) changes over between beyond +``amplitude`` and beyond -``amplitude`` at least
    ``swings`` times within ``window`` seconds. Hands that clap do not wave (see ``clap``).
    """

    name: ClassVar[str] = "wave"
    below: float = 0.05  #: metres
    amplitude: float = 0.035  #: metres
    swings: int = 3  #: changes of side
    window: float = 2.0  #: seconds
    trend: float = 1.0  #: seconds

    def __call__(self, body: Body) -> Found:
        """Look for a wave of either hand."""
        arm = body.local[:, :, WRISTS] - body.local[:, :, SHOULDERS]
        hits = []
        for k in (0, 1):
            gate = (arm[:, :, k, 1] > -self.below) & body.mask
            swing = series.detrend(arm[:, :, k, 0], round(self.trend * body.fps / 2))
            flips = series.swing_flips(swing, gate, self.amplitude)
            hits.append(series.busiest(flips, round(self.window * body.fps)) >= self.swings)
        return Found.of_sides(np.stack(hits, axis=1) & ~Clap()(body).any[:, None])
