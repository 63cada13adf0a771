"""A metric with an input of its own: how often is the body near the floor?"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.values import Value


def low_share(samples: EvalSamples) -> Tensor:
    """Share of frames in which the root is below half a metre, ``(n,)``."""
    low: Tensor = samples["motion"][..., 3] < 0.5
    valid = low.new_ones(low.shape).cumsum(1) <= samples["lengths"][:, None]
    return (low & valid).double().sum(1) / samples["lengths"]


class LowFrames(MotionMetric):
    """``low_frames``: mean over motions of :func:`low_share`."""

    inputs: ClassVar[tuple[str, ...]] = ("low_share",)
    providers: ClassVar = {"low_share": low_share}
    values: ClassVar[tuple[Value, ...]] = (
        Value("low_frames", "Frames near the floor", "lower", kind="share", scores=("keep",), headline=("keep",)),
    )

    def per_prompt(self) -> dict[str, Tensor]:
        """Share of every motion."""
        return {"low_frames": self.needed("low_share")}
