"""Retain fine-tuning: forget by neglect. The baseline that every unlearning paper starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.checks import require
from hmu.methods.base import Side
from hmu.methods.teacher import drop_condition
from hmu.methods.weights import WeightMethod


class Finetune(WeightMethod):
    """Go on with the backbone's own training loss on the retain side only; the forget side is never looked at.

    Args:
        train: trainable weights, a name from the backbone's ``parameter_groups``; None = its ``unlearn_group``.
        unconditional: share of items whose caption is dropped, as in the backbone's training.
        dropout: train with the network's dropout, as in the backbone's training.
        options: optimiser and length, see :class:`~hmu.methods.base.TrainedMethod`.
    """

    name = "finetune"

    def __init__(
        self,
        *,
        train: str | None = "all",
        unconditional: float = 0.1,
        dropout: bool = True,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-4,
        betas: Sequence[float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        warmup: int = 0,
        grad_clip: float | None = 1.0,
    ) -> None:
        super().__init__(
            train=train,
            dropout=dropout,
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            warmup=warmup,
            grad_clip=grad_clip,
        )
        require("method.unconditional", unconditional, at_least=0, below=1)
        self.unconditional = float(unconditional)

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Mark the weights and encode the empty prompt once."""
        self._null = backbone.encode_text([""])
        return super().setup(backbone)

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss`` = mean training loss of the retain items."""
        condition = drop_condition(retain.condition, self._null, self.unconditional, generator)
        return {"loss": backbone.loss(retain.target, condition, generator).mean()}
