"""Bodies of the demo set: the 22-joint T2M skeleton with a person's proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmu.data.demo.curves import Array
from hmu.motion.skeleton import T2M

# Rest offsets from the parent in metres (x = the person's left, y = up, z = forward); our own round figures for an
# adult of about 1.67 m. Legs and arms hang straight down; the last bone of a leg is ankle -> ball of the foot.
OFFSETS: Array = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.085, -0.085, 0.0],
        [-0.085, -0.085, 0.0],
        [0.0, 0.11, -0.02],
        [0.0, -0.385, 0.0],
        [0.0, -0.385, 0.0],
        [0.0, 0.135, 0.005],
        [0.0, -0.405, 0.0],
        [0.0, -0.405, 0.0],
        [0.0, 0.06, 0.02],
        [0.0, -0.06, 0.13],
        [0.0, -0.06, 0.13],
        [0.0, 0.21, -0.03],
        [0.075, 0.12, -0.02],
        [-0.075, 0.12, -0.02],
        [0.0, 0.09, 0.045],
        [0.115, 0.035, -0.01],
        [-0.115, 0.035, -0.01],
        [0.0, -0.26, 0.0],
        [0.0, -0.26, 0.0],
        [0.0, -0.255, 0.0],
        [0.0, -0.255, 0.0],
    ]
)
KNEE, ANKLE, ELBOW, WRIST = 4, 7, 18, 20  # where the bones of a limb end, on the left
_LEGS = [1, 2, 4, 5, 7, 8, 10, 11]
_ARMS = [18, 19, 20, 21]
_WIDTH = [13, 14, 16, 17]
_TRUNK = [3, 6, 9, 12, 15]


@dataclass(frozen=True)
class Body:
    """One performer: rest offsets ``(22, 3)`` in metres, the scale of the legs, and the total scale (height)."""

    offsets: Array
    leg: float
    height: float

    def length(self, *joints: int) -> float:
        """Length of the bones that end at ``joints``, together, in metres."""
        return float(np.linalg.norm(self.offsets[list(joints)], axis=-1).sum())


def vary(rng: np.random.Generator) -> Body:
    """A random performer: height within 8 %, legs, trunk, arms and shoulder width each within 4 % of that."""
    height = float(rng.uniform(0.92, 1.08))
    ratios = rng.uniform(0.96, 1.04, 4) * height
    offsets = OFFSETS.copy()
    for rows, ratio in zip((_LEGS, _TRUNK, _ARMS, _WIDTH), ratios, strict=True):
        offsets[rows] *= ratio
    return Body(offsets, float(ratios[0]), height)


def standard() -> Body:
    """The performer to whom all clips are retargeted."""
    return Body(OFFSETS.copy(), 1.0, 1.0)


def retarget(joints: Array, source: Body, target: Body) -> Array:
    """The same movement on another body: bones keep their directions, the root's path scales with the legs.

    The rule of ``hmu.motion.features.retarget`` (HumanML3D's), here with bone lengths that are known rather than
    measured, which makes it ten times as fast; ``(frames, 22, 3)`` -> ``(frames, 22, 3)``.
    """
    parents = np.array(T2M.parents[1:])
    ratio = np.linalg.norm(target.offsets[1:], axis=-1) / np.linalg.norm(source.offsets[1:], axis=-1)
    bones = (joints[:, 1:] - joints[:, parents]) * ratio[:, None]
    moved = np.empty_like(joints)
    moved[:, 0] = joints[:, 0] * (target.length(KNEE, ANKLE) / source.length(KNEE, ANKLE))
    for joint, parent in enumerate(parents, start=1):
        moved[:, joint] = moved[:, parent] + bones[:, joint - 1]
    return moved
