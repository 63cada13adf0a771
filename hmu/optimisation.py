"""How long and how fast something learns: the numbers that pretraining and every trained method have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hmu.checks import check_fields, require_pair, require_time
from hmu.errors import ConfigError
from hmu.values import Count, Positive, Weight, Whole

STEP_SECONDS = 0.001  # no step of any model here is faster


@dataclass(kw_only=True)
class Optimisation:
    """AdamW with its length and its learning rate.

    Args:
        steps: optimiser steps; or give ``epochs`` and leave it None.
        epochs: passes over the clips (a method counts those of the *forget* side); sets the steps when that is None.
        batch_size: clips or windows per step, over all processes (a method takes so many of each side).
        lr: peak learning rate.
        betas, weight_decay: AdamW.
        warmup: steps of linear growth up to ``lr``.
        grad_clip: largest gradient norm, None for no clipping.

    Values that do not fit their annotations are refused, those of subclasses too, and a training without length; the
    line names ``<place>.<argument>``.
    """

    place: ClassVar[str]  #: what messages call it
    drop_last: ClassVar[bool]  #: whether the last, incomplete batch of an epoch is left out

    steps: Count | None
    epochs: Count | None
    batch_size: Count
    lr: Positive
    betas: Sequence[float]
    weight_decay: Weight
    warmup: Whole
    grad_clip: Positive | None

    def __post_init__(self) -> None:
        place = self.place
        check_fields(self, place)
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(f"{place}.steps and {place}.epochs: give one of the two (the other must be null)")
        self.betas = require_pair(f"{place}.betas", self.betas)
        require_time(f"{place}.steps", self.steps, self.steps or 0, STEP_SECONDS, "steps")

    def total_steps(self, clips: int) -> int:
        """Optimiser steps for ``clips`` clips; an epoch has one step at least."""
        if self.steps is not None:
            return self.steps
        batches = clips // self.batch_size if self.drop_last else -(-clips // self.batch_size)
        steps = int(self.epochs or 0) * max(1, batches)
        require_time(f"{self.place}.epochs", self.epochs, steps, STEP_SECONDS, "steps")
        return steps

    def factor(self, step: int, total: int) -> float:
        """The learning rate at ``step`` of ``total`` as a share of ``lr``: linear growth, then constant."""
        return min(1.0, (step + 1) / (self.warmup + 1))
