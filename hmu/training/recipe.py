"""How one stage of a model is trained: the numbers that are neither model nor data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from hmu.optimisation import Optimisation
from hmu.values import Count, Positive, Weight, Whole


@dataclass(kw_only=True)
class Recipe(Optimisation):
    """Optimiser and schedule of one training stage; what a file of ``configs/recipe`` leaves out is off.

    Args:
        milestones: steps at which the rate is multiplied by ``gamma`` (counted from step 0).
        gamma: see ``milestones``.
        cosine: decay from ``lr`` to 0 along a half cosine after the warm-up instead of milestones.
        clip_parts: ``grad_clip`` bounds each part that the model names (``clip_gradients``) by itself.
        ema: decay of the exponential average of the weights that is kept instead of the last ones; None keeps the last.
        validate_every: steps between two validations.
        window: frames of the random windows a stage trains on; None = what the model publishes for that stage.
        warmup: the full rate is reached with its last step.
    """

    place: ClassVar[str] = "recipe"
    drop_last: ClassVar[bool] = True

    steps: Count | None = None
    epochs: Count | None = None
    weight_decay: Weight = 0.0
    warmup: Whole = 0
    grad_clip: Positive | None = None
    milestones: Sequence[Count] = ()
    gamma: Positive
    cosine: bool = False
    clip_parts: bool = False
    ema: Annotated[float, "> 0, < 1"] | None = None
    validate_every: Count
    window: Count | None = None

    def factor(self, step: int, total: int) -> float:
        """The learning rate at ``step`` of ``total`` as a share of ``lr``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.cosine:
            return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, total - self.warmup)))
        return float(self.gamma ** sum(step >= m for m in self.milestones))
