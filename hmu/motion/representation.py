"""What the columns of a motion are: every data set and every backbone names its representation.

Whoever needs joints, a picture or a judge asks the representation, never the number of columns. A package from outside
brings its own by deriving a class: an instance is handed to ``DatasetSource(representation=…)`` or returned by
``MotionBackbone.representation``; nothing is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hmu.errors import DataError
from hmu.motion import detectors
from hmu.motion.decoding import features_to_joints
from hmu.motion.skeleton import KIT, SKELETONS, T2M, Skeleton
from hmu.motion.stick import Figure, Stick

#: motions ``(n, frames, features)`` in real units and lengths ``(n,)`` to what is True of each, bool ``(n,)``
Judge = Callable[[Tensor, Tensor], Tensor]


class Named(Protocol):
    """What a judge must know of a concept: :class:`hmu.data.concepts.Concept` fits."""

    @property
    def detector(self) -> str | None:
        """The kinematic rule that sees the concept, if there is one."""

    def find(self, text: str) -> Sequence[Any]:
        """Places of ``text`` that name the concept."""


class Representation:
    """A named set of columns, at a rate. As it stands: numbers without joints, which nobody draws and nobody judges.

    Attributes:
        name: ``humanml3d``, ``kit``, ``gait``.
        features: columns of a frame. fps: frames per second as published. unit_length: lengths are multiples of it.
        skeleton: the joints in chains; None where the joints are joined in another way, or there are none.
        stick: how the joints are drawn; None = not at all.
        smpl_joints: whether :meth:`joints` gives the 22 SMPL body joints, which detectors and metrics of physics read.
        captioned: whether its motions come with captions; otherwise models are not asked by text.
        rules: names of the kinematic rules that :meth:`detect` knows.
    """

    skeleton: Skeleton | None = None
    stick: Stick | None = None
    smpl_joints: bool = False
    captioned: bool = True
    rules: tuple[str, ...] = ()

    def __init__(self, name: str, features: int, fps: float, unit_length: int = 1) -> None:
        self.name, self.features, self.fps, self.unit_length = name, features, fps, unit_length

    def joints(self, motion: Tensor) -> Tensor:
        """Joints ``(..., frames, joints, 3)``, metres, y up, of motions ``(..., frames, features)`` in real units."""
        return self.figure(motion).positions

    def figure(self, motion: Tensor) -> Figure:
        """What is drawn of motions ``(..., frames, features)`` in real units; DataError where they have no joints."""
        raise DataError(f"motions of {self.name} have no joints that could be looked at")

    def rule(self, concept: Named) -> str | None:
        """The rule of :attr:`rules` (with a side, perhaps) that sees a concept; None where there is none."""
        return None

    def detect(self, rules: Iterable[str], motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Several rules at once on motions ``(n, frames, features)`` in real units: by rule, bool ``(n,)``."""
        return {}

    def judge(self, concept: Named) -> Judge | None:
        """What says of motions ``(n, frames, features)`` whether they show the concept; None = there is no rule."""
        rule = self.rule(concept)
        return None if rule is None else lambda motion, lengths: self.detect([rule], motion, lengths)[rule]


class SkeletonFeatures(Representation):
    """The features of Guo et al. (CVPR 2022) on a skeleton: root, positions, 6D rotations, velocities, contacts."""

    def __init__(self, name: str, skeleton: Skeleton, unit_length: int = 4) -> None:
        super().__init__(name, skeleton.features, skeleton.fps, unit_length)
        self.skeleton, self.stick = skeleton, Stick.of(skeleton)
        self.smpl_joints = skeleton is T2M
        self.rules = detectors.names() if self.smpl_joints else ()

    def figure(self, motion: Tensor) -> Figure:
        """As there; the stored unit becomes metres."""
        assert self.skeleton is not None
        joints, unit = features_to_joints(motion, self.skeleton), self.skeleton.units_to_metres
        metres = joints if unit == 1.0 else joints * unit
        return Figure(metres, metres.new_zeros(*metres.shape[:-2], 0, 2, 3))

    def rule(self, concept: Named) -> str | None:
        """The concept's own detector, where the rules know the skeleton."""
        return str(concept.detector) if self.smpl_joints and concept.detector is not None else None

    def detect(self, rules: Iterable[str], motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """As there. Raises :class:`ConfigError` for an unknown rule or side."""
        if not self.smpl_joints:
            return {}
        hits = detectors.detect_each(rules, self.joints(motion), lengths.numpy())
        return {rule: torch.from_numpy(shown) for rule, shown in hits.items()}


HUMANML3D = SkeletonFeatures("humanml3d", T2M)
"""263 columns at 20 fps: the 22 SMPL body joints in metres."""
KIT_ML = SkeletonFeatures("kit", KIT)
"""251 columns at 12.5 fps: 21 joints, stored in millimetres."""


def skeleton_representation(features: int, fps: float = 20.0) -> Representation:
    """HumanML3D's or KIT's by their width, all that published data and models state; other widths have no joints."""
    known = {skeleton.features: own for skeleton, own in zip(SKELETONS, (HUMANML3D, KIT_ML), strict=True)}
    return known.get(features) or Representation(f"{features} columns", features, fps)
