"""Distance between a prompt and its motion."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value


def distances(text: Tensor, motion: Tensor) -> Tensor:
    """Euclidean distance of aligned rows ``(n, width)`` -> ``(n,)`` float64."""
    difference = text.double() - motion.double()
    return difference.square().sum(-1).sqrt()


class MMDist(MotionMetric):
    """``mm_dist``: mean distance between prompts and their motions ("matching score"), in embedding units."""

    inputs: ClassVar[tuple[str, ...]] = ("generated", "text")
    values: ClassVar[tuple[Value, ...]] = (
        Value("mm_dist", "MM-Dist", "lower", kind="size", scores=("keep",), headline=("keep",)),
    )

    def per_prompt(self) -> dict[str, Tensor]:
        """Distance of every prompt."""
        return {"mm_dist": distances(self.needed("text"), self.needed("generated"))}
