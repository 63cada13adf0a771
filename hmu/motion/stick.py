"""How the joints of a representation are joined to the figure that pages and animations draw."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from hmu.motion.skeleton import Skeleton

#: metres, by chain as skeletons list them: right leg, left leg, spine, right arm, left arm
CHAIN_WIDTHS: tuple[float, ...] = (0.085, 0.085, 0.075, 0.06, 0.06)
HEAD_RADIUS = 0.1  # metres
_SIDES = (1, -1, 0, 1, -1)  # of the same chains; 1 is right


@dataclass(frozen=True)
class Stick:
    """How joints are joined to a figure: any skeleton will do.

    Attributes:
        joints: number of joints; joint 0 is the root, which the camera follows and whose path is drawn.
        bones: pairs of joints.
        widths: thickness per bone in metres; empty = thin everywhere.
        sides: per bone 1 (right), -1 (left) or 0, which gives it its shade; empty = all 0.
        head: joint that gets a ball of ``head_radius`` metres, or None.
        chains: per bone the chain of its skeleton, which gives it its colour in animations; empty = by side.
        torso: corners of the trunk in animations; empty = none.
    """

    joints: int
    bones: tuple[tuple[int, int], ...]
    fps: float
    widths: tuple[float, ...] = ()
    sides: tuple[int, ...] = ()
    head: int | None = None
    head_radius: float = HEAD_RADIUS
    chains: tuple[int, ...] = ()
    torso: tuple[int, ...] = ()

    @classmethod
    def of(cls, skeleton: Skeleton, fps: float | None = None) -> Stick:
        """The figure of one of the two skeletons of the field, at its own rate unless ``fps`` is given."""
        joined = [
            (bone, CHAIN_WIDTHS[chain], _SIDES[chain], chain)
            for chain, joints in enumerate(skeleton.chains)
            for bone in pairwise(joints)
        ]
        bones, widths, sides, chains = zip(*joined, strict=True)
        right_hip, left_hip, right_shoulder, left_shoulder = skeleton.facing
        torso = (right_hip, left_hip, left_shoulder, right_shoulder)
        head = skeleton.index("head")
        return cls(skeleton.joints, bones, fps or skeleton.fps, widths, sides, head, HEAD_RADIUS, chains, torso)


@dataclass(frozen=True)
class Figure:
    """Motions as a :class:`Stick` shows them, metres, y up, floor at y = 0.

    Joints ``(..., frames, joints, 3)``, and tail and tip of arrows (forces, say) ``(..., frames, arrows, 2, 3)``.
    """

    positions: Tensor
    arrows: Tensor
