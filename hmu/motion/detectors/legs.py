"""What legs do: jump with both feet, hop on one, kick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._body import ANKLES, PELVIS, TOES, Body, Detector, Found
from hmu.motion.detectors.gait import airborne


@dataclass(frozen=True)
class Jump(Detector):
    """Both feet leave the floor together, and the body rises.

    Both feet's lower joints are above ``height`` for ``hold`` seconds with the ankles within ``level`` of each other in
    height, the pelvis at least ``rise`` above its median height on the ground, and the ankles never further apart along
    the way than ``split`` within ``around`` seconds: in the flights of a run one leg is ahead of the other, in those of
    a hop one leg is held up.
    """

    name: ClassVar[str] = "jump"
    height: float = 0.06  #: metres
    hold: float = 0.10  #: seconds
    level: float = 0.12  #: metres
    rise: float = 0.03  #: metres
    split: float = 0.35  #: metres
    around: float = 0.25  #: seconds

    def __call__(self, body: Body) -> Found:
        """Look for a jump."""
        gap = np.abs(body.local[:, :, ANKLES[0]] - body.local[:, :, ANKLES[1]])
        reach = round(self.around * body.fps)
        together = (gap[..., 1] < self.level) & (series.extreme(gap[..., 2], reach, reach, largest=True) < self.split)
        flight = airborne(body, self.height) & together
        ground = series.quantile(body.pelvis_height, body.mask & ~flight, 0.5)
        risen = body.pelvis_height > ground[:, None] + self.rise
        return Found(any=series.longest(flight & risen) >= round(self.hold * body.fps))


@dataclass(frozen=True)
class Hop(Detector):
    """A flight that starts and ends on the same foot.

    Both feet's lower joints are above ``height`` for ``hold`` seconds; from ``around`` seconds before to ``around``
    after that, one foot touches the floor again and the other never comes below ``held`` nor swings faster than
    ``swing`` ahead or back against the pelvis, as a running leg does.
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
        return Found.of_sides(hits)


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
        return Found.of_sides(hit)
