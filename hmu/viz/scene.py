"""Geometry of the picture: a camera that follows the person, and the colours and widths of a stick figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.skeleton import T2M, Skeleton
from hmu.motion.stick import CHAIN_WIDTHS as CHAIN_WIDTHS
from hmu.motion.stick import HEAD_RADIUS as HEAD_RADIUS

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (250, 250, 248)
GRID: Colour = (214, 217, 222)
SHADOW: Colour = (226, 227, 229)
TRAIL: Colour = (120, 150, 190)
INK: Colour = (44, 48, 58)
FAINT: Colour = (135, 140, 150)
# By chain as skeletons list them: right leg, left leg, spine, right arm, left arm. Warm is right, cool is left.
CHAIN_COLOURS: tuple[Colour, ...] = ((208, 76, 66), (44, 112, 178), (58, 63, 76), (235, 140, 70), (66, 165, 190))
TORSO: Colour = (150, 156, 170)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point moving with the person.

    Attributes:
        width, height: picture in pixels.
        azimuth: degrees around the vertical, 0 = in front of somebody who faces +z, positive towards their left.
        elevation: degrees above the horizon.
        distance: metres from the point looked at; perspective weakens with it.
        span: metres that fill the picture's height at that distance.
    """

    width: int
    height: int
    azimuth: float = 32.0
    elevation: float = 16.0
    distance: float = 8.0
    span: float = 2.25

    def project(self, points: Floats, target: Floats) -> tuple[Floats, Floats]:
        """Pixels ``(..., 2)`` and scale ``(...)`` of points ``(..., 3)`` while looking at ``target`` ``(..., 3)``.

        The scale is pixels per metre at the point; larger is nearer.
        """
        azimuth, elevation = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        back = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
        up = np.cross(back, right)
        local = points - target
        depth = np.maximum(self.distance - local @ back, 0.5)
        scale = self.height / self.span * self.distance / depth
        x = self.width / 2 + scale * (local @ right)
        y = self.height / 2 - scale * (local @ up)
        return np.stack([x, y], axis=-1), scale


def check_joints(joints: object, skeleton: Skeleton = T2M) -> Floats:
    """Joints ``(frames, joints, 3)`` as float64 metres; raises :class:`DataError` on another shape or on NaN."""
    array = np.asarray(joints, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (skeleton.joints, 3) or not len(array):
        raise DataError(f"cannot draw joints of shape {array.shape}: expected (frames, {skeleton.joints}, 3)")
    if not np.isfinite(array).all():
        raise DataError("cannot draw joints that contain NaN or infinity; the motion itself is broken")
    return array * skeleton.units_to_metres


def camera_targets(joints: Floats, fps: float, height: float = 0.95) -> Floats:
    """Where the camera looks in each frame ``(frames, 3)``: the root's path smoothed over a second, at fixed height."""
    path = joints[:, 0].copy()
    reach = max(1, int(fps // 2))
    padded = np.pad(path, ((reach, reach), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros((1, 3)), padded]), axis=0)
    path = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    path[:, 1] = height
    return np.asarray(path)


def ground_segments(target: Floats, reach: float = 2.0, step: float = 0.5) -> tuple[Floats, Floats]:
    """Grid pieces around a point: ends ``(pieces, 2, 3)`` and how visible each is, 1 (middle) to 0 (``reach``)."""
    n = round(2 * reach / step) + 1
    ticks = (np.arange(n) - n // 2) * step
    x0, z0 = np.round(target[0] / step) * step, np.round(target[2] / step) * step
    a, b = np.meshgrid(ticks, ticks[:-1], indexing="ij")
    zeros, a, b = np.zeros(a.size), a.ravel(), b.ravel()
    along_z = np.stack([np.stack([a + x0, zeros, b + z0], -1), np.stack([a + x0, zeros, b + step + z0], -1)], 1)
    along_x = np.stack([np.stack([b + x0, zeros, a + z0], -1), np.stack([b + step + x0, zeros, a + z0], -1)], 1)
    pieces = np.concatenate([along_z, along_x])
    away = np.hypot(*(pieces.mean(1)[:, [0, 2]] - target[[0, 2]]).T)
    return pieces, np.clip(1.0 - away / reach, 0.0, 1.0)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``share`` of ``colour``, the rest ``other``."""
    r, g, b = (round(share * a + (1 - share) * c) for a, c in zip(colour, other, strict=True))
    return r, g, b
