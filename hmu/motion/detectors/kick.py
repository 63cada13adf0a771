"""Kicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._base import Detector, Found
from hmu.motion.detectors._body import ANKLES, PELVIS, TOES, Body


@dataclass(frozen=True)
class Kick(Detector):
    """One leg is flung up, nearly straight, while the other stands still on the floor.

    At some frame the hip-to-ankle line is ``swing`` degrees off the vertical with the leg at least ``straight`` of its
    length, its ankle ``lift`` above the other one; the other foot is on the floor (below ``planted``) and slower than
    ``planted_speed``, the pelvis slower than ``travel``; and within ``flick`` seconds around it the ankle moves at
    ``speed`` against the pelvis. A running leg is bent when it is high and a walking one is low; a jump has no planted
    foot; a march lifts a bent leg.
    """

    name: ClassVar[str] = "kick"
    swing: float = 36.0  #: degrees
    straight: float = 0.80  #: share of the leg's length
    lift: float = 0.15  #: metres
    planted: float = 0.08  #: metres
    planted_speed: float = 0.8  #: m/s, slower of ankle and toe, horizontal
    speed: float = 1.0  #: m/s
    flick: float = 0.4  #: seconds
    travel: float = 1.6  #: m/s, the pelvis may not be faster

    def __call__(self, body: Body) -> Found:
        """Look for a kick of either leg."""
        ankle = body.world[:, :, ANKLES, 1]
        ground = np.linalg.norm(body.velocity[..., [0, 2]], axis=-1)
        foot_speed = np.minimum(ground[:, :, ANKLES], ground[:, :, TOES])
        planted = (body.foot_height < self.planted) & (foot_speed < self.planted_speed)
        raised = (body.leg_swing > self.swing) & (body.leg_extension > self.straight)
        raised &= (ankle - ankle[:, :, ::-1] > self.lift) & planted[:, :, ::-1]
        raised &= (ground[:, :, PELVIS] < self.travel)[:, :, None] & body.mask[:, :, None]
        reach = round(self.flick * body.fps)
        fast = np.linalg.norm(body.local_velocity[:, :, ANKLES], axis=-1) > self.speed
        hit = [(raised[:, :, k] & series.within(fast[:, :, k], reach, reach)).any(axis=1) for k in (0, 1)]
        return Found.of_sides(np.stack(hit, axis=1))
