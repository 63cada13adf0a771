"""How one stage of a model is trained: the numbers that are neither model nor data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmu.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """Optimiser and schedule of one training stage.

    Attributes:
        steps: optimiser steps; or give ``epochs`` and leave it None.
        epochs: passes over the training clips (sets ``steps`` when that is None).
        batch_size: clips (or windows) per step, over all processes.
        lr: peak learning rate of AdamW.
        betas, weight_decay: AdamW.
        warmup: steps of linear growth from 0 to ``lr``; the full rate is reached at its end.
        milestones: steps at which the rate is multiplied by ``gamma`` (counted from step 0).
        cosine: decay from ``lr`` to 0 along a half cosine after the warm-up instead of milestones.
        grad_clip: largest gradient norm, None for no clipping.
        clip_parts: ``grad_clip`` bounds each part that the model names (``clip_gradients``) by itself.
        ema: decay of the exponential average of the weights that is kept instead of the last ones; None keeps the last.
        validate_every: steps between two validations.
        window: frames of the random windows a stage trains on; None = what the model publishes for that stage.

    Raises:
        ConfigError: for a recipe without length or with numbers out of range.
    """

    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 64
    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 0
    milestones: Sequence[int] = ()
    gamma: float = 0.1
    cosine: bool = False
    grad_clip: float | None = None
    clip_parts: bool = False
    ema: float | None = None
    validate_every: int = 500
    window: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError("recipe: give either steps or epochs (one of them must be null)")
        if (self.steps or self.epochs or 0) <= 0 or self.batch_size <= 0 or self.lr <= 0:
            raise ConfigError("recipe: steps, epochs, batch_size and lr must be greater than 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"recipe: ema must lie between 0 and 1, not {self.ema}")

    def total_steps(self, clips: int) -> int:
        """Optimiser steps for ``clips`` training items; the last, incomplete batch of an epoch is dropped."""
        if self.steps is not None:
            return self.steps
        return max(1, clips // self.batch_size) * int(self.epochs or 0)

    def factor(self, step: int, total: int) -> float:
        """The learning rate at ``step`` as a share of ``lr``."""
        import math

        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.cosine:
            return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, total - self.warmup)))
        return float(self.gamma ** sum(step >= m for m in self.milestones))
