"""Postures: squat, sit, bow, stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.motion.detectors import _series as series
from hmu.motion.detectors._body import ANKLES, HEAD, NECK, PELVIS, TOES, WRISTS, Body, Detector, Found
from hmu.motion.detectors.gait import pace, thigh_lift

Array = NDArray[np.float64]


def overhang(body: Body) -> Array:
    """How far the trunk's middle lies behind the middle of the feet, ``(batch, frames)``, metres (body frame).

    Who stands or squats keeps the trunk over the feet; who sits on something does not have to.
    """
    feet = body.local[:, :, ANKLES + TOES, 2].mean(axis=2)
    trunk = 0.5 * (body.local[:, :, PELVIS, 2] + body.local[:, :, NECK, 2])
    return np.asarray(feet - trunk)


@dataclass(frozen=True)
class Squat(Detector):
    """Both knees bend deeply over standing feet.

    For ``hold`` seconds both legs are shorter than ``bent`` of their length with the pelvis below ``height``, both feet
    lower than ``planted``, the trunk less than ``overhang`` behind the feet and the pelvis slower than ``travel``.
    """

    name: ClassVar[str] = "squat"
    bent: float = 0.80  #: share of the leg's length
    height: float = 0.58  #: metres; upright 0.85 to 0.9
    hold: float = 0.15  #: seconds
    planted: float = 0.10  #: metres
    overhang: float = 0.28  #: metres
    travel: float = 0.35  #: m/s

    def __call__(self, body: Body) -> Found:
        """Look for a squat."""
        low = (body.leg_extension.max(axis=-1) < self.bent) & (body.pelvis_height < self.height)
        feet = (body.foot_height.max(axis=-1) < self.planted) & (overhang(body) < self.overhang)
        still = np.linalg.norm(pace(body)[..., [0, 2]], axis=-1) < self.travel
        return Found(any=series.longest(low & feet & still & body.mask) >= round(self.hold * body.fps))


@dataclass(frozen=True)
class Sit(Detector):
    """The body rests behind its feet, or on the floor.

    For ``hold`` seconds both thighs are ``thigh`` or more off the vertical, the pelvis is below ``height`` and slower
    than ``travel``, and either the trunk is ``overhang`` or more behind the feet (out of balance, so something
    carries it) or the pelvis is below ``ground``.
    """

    name: ClassVar[str] = "sit"
    thigh: float = 50.0  #: degrees
    height: float = 0.68  #: metres
    overhang: float = 0.28  #: metres
    ground: float = 0.25  #: metres
    hold: float = 0.5  #: seconds
    travel: float = 0.35  #: m/s

    def __call__(self, body: Body) -> Found:
        """Look for sitting."""
        folded = (thigh_lift(body).min(axis=-1) > self.thigh) & (body.pelvis_height < self.height)
        carried = (overhang(body) > self.overhang) | (body.pelvis_height < self.ground)
        still = np.linalg.norm(pace(body)[..., [0, 2]], axis=-1) < self.travel
        return Found(any=series.longest(folded & carried & still & body.mask) >= round(self.hold * body.fps))


@dataclass(frozen=True)
class Bow(Detector):
    """The trunk bends forward over straight legs.

    For ``hold`` seconds the trunk leans ``lean`` degrees, ``bend`` more than at its most upright in the clip, ahead
    rather than aside, with both legs longer than ``straight`` of their length, both feet lower than ``planted``
    (leaning into a kick is no bow) and the pelvis slower than ``travel``.
    """

    name: ClassVar[str] = "bow"
    lean: float = 28.0  #: degrees
    bend: float = 18.0  #: degrees
    planted: float = 0.10  #: metres
    straight: float = 0.90  #: share of the leg's length
    hold: float = 0.15  #: seconds
    travel: float = 0.4  #: m/s

    def __call__(self, body: Body) -> Found:
        """Look for a bow."""
        upright = series.quantile(body.lean, body.mask, 0.05)[:, None]
        trunk = body.local[:, :, NECK] - body.local[:, :, PELVIS]
        bent = (body.lean > self.lean) & (body.lean - upright > self.bend) & (trunk[..., 2] > np.abs(trunk[..., 0]))
        still = np.linalg.norm(pace(body)[..., [0, 2]], axis=-1) < self.travel
        legs = (body.leg_extension.min(axis=-1) > self.straight) & (body.foot_height.max(axis=-1) < self.planted)
        return Found(any=series.longest(bent & still & legs & body.mask) >= round(self.hold * body.fps))


@dataclass(frozen=True)
class Stand(Detector):
    """Upright and still throughout.

    In ``share`` of the frames the pelvis is above ``height``, no joint has moved faster than ``speed`` on average
    over the last ``span`` seconds, and head, wrists and ankles are no further than ``drift`` from their median
    places.
    """

    name: ClassVar[str] = "stand"
    speed: float = 0.30  #: m/s
    span: float = 0.5  #: seconds
    height: float = 0.75  #: metres
    drift: float = 0.15  #: metres
    share: float = 0.9  #: of the frames

    def __call__(self, body: Body) -> Found:
        """Look for standing still."""
        back = np.maximum(np.arange(body.mask.shape[1]) - round(self.span * body.fps), 0)
        moved = np.linalg.norm(body.world - body.world[:, back], axis=-1).max(axis=-1)
        ends = body.world[:, :, (HEAD, *WRISTS, *ANKLES)]
        middle = [[series.quantile(ends[:, :, j, a], body.mask, 0.5) for a in range(3)] for j in range(ends.shape[2])]
        place = np.moveaxis(np.array(middle), 2, 0)[:, None]
        away = np.linalg.norm(ends - place, axis=-1).max(axis=-1)
        calm = (moved < self.speed * self.span) & (away < self.drift) & (body.pelvis_height > self.height)
        return Found(any=(calm & body.mask).sum(axis=1) >= self.share * body.lengths)
