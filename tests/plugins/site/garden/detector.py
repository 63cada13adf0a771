"""A kinematic rule, and the concept that it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hmu.data.concepts import Concept
from hmu.motion.detectors import Body, Detector, Found


@dataclass(frozen=True)
class Bloom(Detector):
    """Any joint gets ``height`` above the floor."""

    name: ClassVar[str] = "bloom"
    height: float = 1.9  #: metres

    def __call__(self, body: Body) -> Found:
        """Look at the highest joint of all valid frames."""
        highest = body.world[..., 1].max(-1)
        return Found(any=((highest > self.height) & body.mask).any(1))


class Blooming(Concept):
    """A concept of this module: whoever builds it has its rule."""
