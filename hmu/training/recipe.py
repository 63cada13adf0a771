"""How one stage of a model is trained: the numbers that are neither model nor data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hmu.checks import require, require_pair, require_time
from hmu.errors import ConfigError

STEP_SECONDS = 0.001  # no step of any model here is faster


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
        ConfigError: for a recipe without length or with numbers out of range; the line names ``recipe.<argument>``.
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
            raise ConfigError("recipe.steps and recipe.epochs: give one of the two (the other must be null)")
        for key in ("steps", "epochs", "window"):
            require(f"recipe.{key}", getattr(self, key), at_least=1, whole=True, null=True)
        for key in ("batch_size", "validate_every"):
            require(f"recipe.{key}", getattr(self, key), at_least=1, whole=True)
        require("recipe.warmup", self.warmup, at_least=0, whole=True)
        require("recipe.lr", self.lr, above=0)
        require("recipe.weight_decay", self.weight_decay, at_least=0)
        require("recipe.gamma", self.gamma, above=0)
        require("recipe.grad_clip", self.grad_clip, above=0, null=True)
        require("recipe.ema", self.ema, above=0, below=1, null=True)
        require_pair("recipe.betas", self.betas)
        for number, milestone in enumerate(self.milestones):
            require(f"recipe.milestones.{number}", milestone, at_least=1, whole=True)
        require_time("recipe.steps", self.steps, self.steps or 0, STEP_SECONDS, "steps")

    def total_steps(self, clips: int) -> int:
        """Optimiser steps for ``clips`` training items; the last, incomplete batch of an epoch is dropped."""
        if self.steps is not None:
            return self.steps
        steps = max(1, clips // self.batch_size) * int(self.epochs or 0)
        require_time("recipe.epochs", self.epochs, steps, STEP_SECONDS, "steps")
        return steps

    def factor(self, step: int, total: int) -> float:
        """The learning rate at ``step`` as a share of ``lr``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.cosine:
            return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, total - self.warmup)))
        return float(self.gamma ** sum(step >= m for m in self.milestones))
