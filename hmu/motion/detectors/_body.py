"""What a detector is, and what it sees: a smoothed, size-free, heading-free view of a batch of clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.detectors import _series as series
from hmu.motion.kinematics import as_arrays, frame_mask, velocity

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

PELVIS, NECK, HEAD = 0, 12, 15
HIPS, KNEES, ANKLES, TOES = (1, 2), (4, 5), (7, 8), (10, 11)
SHOULDERS, ELBOWS, WRISTS = (16, 17), (18, 19), (20, 21)

REFERENCE_LEG = 0.80  #: metres, thigh + shin of the body that every threshold is meant for (HumanML3D's is 0.8)
SMOOTHING = 0.05  #: seconds, standard deviation of the Gaussian that is laid over every joint's path
HEADING_SMOOTHING = 0.15  #: seconds, the same for the heading, which is used for turning only
FLOOR_QUANTILE = 0.05  #: the floor is this quantile of the lowest foot joint's height over the clip


def tilt(vectors: Array) -> Array:
    """Angle to straight up, ``(..., 3)`` -> ``(...)``, degrees."""
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(vectors[..., [0, 2]], axis=-1), vectors[..., 1])))


class Body:
    """Signals of a batch of clips, computed once and shared by all detectors.

    Every position is smoothed (``SMOOTHING``), scaled to a body with ``REFERENCE_LEG`` long legs, and measured from the
    floor up, so that a threshold in metres means the same for a child and a giant.

    Attributes:
        lengths: true frames ``(batch,)``. fps: frames a second. mask: ``(batch, frames)``, True inside the clip.
        world: joints ``(batch, frames, 22, 3)``, scaled metres, floor at y = 0.
    """

    def __init__(self, joints: Any, lengths: Any = None, fps: float = 20.0) -> None:
        points, self.lengths = as_arrays(joints, lengths)
        self.fps = float(fps)
        self.mask: Bools = frame_mask(self.lengths, points.shape[1])
        points = series.smooth(points, self.lengths, SMOOTHING * self.fps)
        thigh = np.linalg.norm(points[:, :, HIPS] - points[:, :, KNEES], axis=-1).mean(axis=-1)
        shin = np.linalg.norm(points[:, :, KNEES] - points[:, :, ANKLES], axis=-1).mean(axis=-1)
        leg = series.quantile(thigh + shin, self.mask, 0.5)
        if (leg <= 0).any():
            raise DataError(f"clip {int(np.argmax(leg <= 0))} of the batch has legs without length: not a motion")
        points = points * (REFERENCE_LEG / leg)[:, None, None, None]
        lowest = points[:, :, ANKLES + TOES, 1].min(axis=-1)
        points[..., 1] -= series.quantile(lowest, self.mask, FLOOR_QUANTILE)[:, None, None]
        self.world: Array = points

    @cached_property
    def heading(self) -> Array:
        """Where hips and shoulders face, ``(batch, frames)``, radians, unwrapped; 0 = +Z, growing to the left."""
        shoulders = self.world[:, :, SHOULDERS[0]] - self.world[:, :, SHOULDERS[1]]
        return self._facing(self.world[:, :, HIPS[0]] - self.world[:, :, HIPS[1]] + shoulders)

    @cached_property
    def pelvis_heading(self) -> Array:
        """As ``heading`` ``(batch, frames)``, from the hips alone: a twist of the shoulders is no turn."""
        return self._facing(self.world[:, :, HIPS[0]] - self.world[:, :, HIPS[1]])

    def _facing(self, across: Array) -> Array:
        angle = np.unwrap(np.arctan2(-across[..., 2], across[..., 0]), axis=1)
        return series.smooth(angle, self.lengths, HEADING_SMOOTHING * self.fps)

    def turned(self, vectors: Array) -> Array:
        """World vectors ``(batch, frames, ..., 3)`` in the body frame: x to the left, y up, z ahead."""
        shape = self.heading.shape + (1,) * (vectors.ndim - 3)
        cos, sin = np.cos(self.heading).reshape(shape), np.sin(self.heading).reshape(shape)
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1)

    @cached_property
    def local(self) -> Array:
        """Joints in the body frame, ``(batch, frames, 22, 3)``: origin below the pelvis on the floor."""
        origin = self.world[:, :, PELVIS : PELVIS + 1] * np.array([1.0, 0.0, 1.0])
        return self.turned(self.world - origin)

    @cached_property
    def velocity(self) -> Array:
        """World velocity of every joint, ``(batch, frames, 22, 3)``, m/s."""
        return velocity(self.world, self.lengths, self.fps)

    @cached_property
    def local_velocity(self) -> Array:
        """Velocity against the pelvis, in the body frame, ``(batch, frames, 22, 3)``, m/s (heading held fixed)."""
        return self.turned(self.velocity - self.velocity[:, :, PELVIS : PELVIS + 1])

    @cached_property
    def travel(self) -> Array:
        """Pelvis velocity in the body frame, ``(batch, frames, 3)``, m/s: x to the left, y up, z ahead."""
        return self.turned(self.velocity[:, :, PELVIS])

    @cached_property
    def leg_extension(self) -> Array:
        """Hip-to-ankle distance over the leg's length, ``(batch, frames, 2)``: 1 = straight."""
        return self._extension(HIPS, KNEES, ANKLES)

    @cached_property
    def arm_extension(self) -> Array:
        """Shoulder-to-wrist distance over the arm's length, ``(batch, frames, 2)``: 1 = straight."""
        return self._extension(SHOULDERS, ELBOWS, WRISTS)

    def _extension(self, root: tuple[int, int], mid: tuple[int, int], end: tuple[int, int]) -> Array:
        a, b, c = self.world[:, :, root], self.world[:, :, mid], self.world[:, :, end]
        full = np.linalg.norm(a - b, axis=-1) + np.linalg.norm(b - c, axis=-1)
        return np.asarray(np.linalg.norm(a - c, axis=-1) / np.maximum(full, 1e-6))

    @cached_property
    def leg_swing(self) -> Array:
        """Angle between hip-to-ankle and straight down, ``(batch, frames, 2)``, degrees."""
        leg = self.world[:, :, ANKLES] - self.world[:, :, HIPS]
        return tilt(-leg)

    @cached_property
    def lean(self) -> Array:
        """Angle between pelvis-to-neck and straight up, ``(batch, frames)``, degrees."""
        trunk = self.world[:, :, NECK] - self.world[:, :, PELVIS]
        return tilt(trunk)

    @cached_property
    def foot_height(self) -> Array:
        """Height of each foot's lower joint (ankle or toe), ``(batch, frames, 2)``, metres above the floor."""
        return np.asarray(np.minimum(self.world[:, :, ANKLES, 1], self.world[:, :, TOES, 1]))

    @cached_property
    def pelvis_height(self) -> Array:
        """Height of the pelvis above the floor, ``(batch, frames)``, metres."""
        return self.world[:, :, PELVIS, 1]


@dataclass(frozen=True)
class Found:
    """What a detector saw in a batch of clips: whether the concept is in it, bool ``(batch,)``.

    ``sides`` has the same for each variant the rule can tell apart (``left``, ``right``, ``both``).
    """

    any: Bools
    sides: dict[str, Bools] = field(default_factory=dict)

    @staticmethod
    def of_sides(per_side: Iterable[Any]) -> Found:
        """From left and right, bool ``(batch,)`` each: any of the two, and each; ``both`` where both are found."""
        left, right = per_side
        return Found(any=left | right, sides={"left": left, "right": right, "both": left & right})


class Detector(ABC):
    """A physical rule. Subclasses are frozen dataclasses whose fields are the thresholds, with their units.

    Metres are those of a body with 0.8 m legs (``Body`` scales each clip to it), heights are above the clip's floor.
    """

    name: ClassVar[str]  #: how users and configurations call it

    @abstractmethod
    def __call__(self, body: Body) -> Found:
        """Look for the concept in every clip of the batch."""
