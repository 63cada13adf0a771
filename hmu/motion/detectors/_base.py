"""The shape of a detector and of its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hmu.motion.detectors._body import Body

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """What a detector saw in a batch of clips.

    Attributes:
        any: the concept is in the clip, bool ``(batch,)``. sides: the same for each variant the rule can tell apart
        (``left``, ``right``, ``both``), bool ``(batch,)`` each.
    """

    any: Bools
    sides: dict[str, Bools] = field(default_factory=dict)

    @staticmethod
    def of_sides(per_side: Bools) -> Found:
        """From bool ``(batch, 2)`` (left, right): any of the two, and each; ``both`` where both are found."""
        left, right = per_side[:, 0], per_side[:, 1]
        return Found(any=left | right, sides={"left": left, "right": right, "both": left & right})


class Detector(ABC):
    """A physical rule. Subclasses are frozen dataclasses whose fields are the thresholds, with their units.

    Metres are those of a body with 0.8 m legs (``Body`` scales each clip to it), heights are above the clip's floor.
    """

    name: ClassVar[str]  #: how users and configurations call it

    @abstractmethod
    def __call__(self, body: Body) -> Found:
        """Look for the concept in every clip of the batch."""
