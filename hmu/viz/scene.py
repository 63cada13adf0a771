"""Geometry of the picture: a camera that follows the person, the ground, and the colours of a stick figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.stick import Figure, Stick

EYES = 0.95  # metres above the ground: where the camera looks
REACH, MESH = 2.0, 0.5  # metres: of the grid on the ground around it, and of its squares

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (250, 250, 248)
GRID: Colour = (214, 217, 222)
SHADOW: Colour = (226, 227, 229)
TRAIL: Colour = (120, 150, 190)
INK: Colour = (44, 48, 58)
FAINT: Colour = (135, 140, 150)
FORCE: Colour = (62, 142, 84)
TORSO: Colour = (150, 156, 170)
# By chain as skeletons list them: right leg, left leg, spine, right arm, left arm. Warm is right, cool is left.
CHAIN_COLOURS: tuple[Colour, ...] = ((208, 76, 66), (44, 112, 178), (58, 63, 76), (235, 140, 70), (66, 165, 190))
SIDE_COLOURS: dict[int, Colour] = {1: CHAIN_COLOURS[0], -1: CHAIN_COLOURS[1], 0: CHAIN_COLOURS[2]}


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


def points_of(figure: Figure, stick: Stick) -> tuple[Floats, Floats]:
    """Joints ``(frames, joints, 3)`` and arrows ``(frames, arrows, 2, 3)`` of one motion, metres.

    Raises:
        DataError: several motions, joints that are not the stick's, or NaN.
    """
    joints, arrows = (part.detach().cpu().double().numpy() for part in (figure.positions, figure.arrows))
    if joints.ndim != 3 or joints.shape[1:] != (stick.joints, 3) or not len(joints):
        raise DataError(f"cannot draw joints of shape {joints.shape}: expected one motion (frames, {stick.joints}, 3)")
    if not (np.isfinite(joints).all() and np.isfinite(arrows).all()):
        raise DataError("cannot draw joints that contain NaN or infinity; the motion itself is broken")
    return joints, arrows


def camera_targets(joints: Floats, fps: float) -> Floats:
    """Where the camera looks in each frame ``(frames, 3)``: the root's path smoothed over a second, at fixed height.

    ``joints``: ``(frames, joints, 3)`` metres, the root first.
    """
    path = joints[:, 0].copy()
    reach = max(1, int(fps // 2))
    padded = np.pad(path, ((reach, reach), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros((1, 3)), padded]), axis=0)
    path = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    path[:, 1] = EYES
    return np.asarray(path)


def ground_segments(target: Floats) -> tuple[Floats, Floats]:
    """Grid pieces around a point ``(3,)``: ends ``(pieces, 2, 3)``, how visible ``(pieces,)``, 0 at :data:`REACH`."""
    ticks = np.arange(-REACH, REACH + MESH / 2, MESH)
    across, start = (grid.ravel() for grid in np.meshgrid(ticks, ticks[:-1], indexing="ij"))
    flat = np.zeros((across.size, 2))
    flat[:, 1] = MESH
    along = start[:, None] + flat
    across, level = np.broadcast_to(across[:, None], along.shape), np.zeros(along.shape)
    pieces = np.concatenate([np.stack([across, level, along], -1), np.stack([along, level, across], -1)])
    pieces = pieces + np.round(target * [1, 0, 1] / MESH) * MESH
    away = np.hypot(*(pieces.mean(1)[:, [0, 2]] - target[[0, 2]]).T)
    return pieces, np.clip(1.0 - away / REACH, 0.0, 1.0)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``share`` of ``colour``, the rest ``other``."""
    r, g, b = (round(share * a + (1 - share) * c) for a, c in zip(colour, other, strict=True))
    return r, g, b
