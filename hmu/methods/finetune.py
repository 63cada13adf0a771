"""Retain fine-tuning: forget by neglect. The baseline that every unlearning paper starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.methods.base import Side
from hmu.methods.teacher import drop_condition
from hmu.methods.weight_method import WeightMethod
from hmu.values import Share


@dataclass(kw_only=True)
class Finetune(WeightMethod):
    """Go on with the backbone's own training loss on the retain side only; the forget side is never looked at.

    Args:
        unconditional: share of items whose caption is dropped, as in the backbone's training.
    """

    name: ClassVar[str] = "finetune"

    unconditional: Share

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Mark the weights and encode the empty prompt once."""
        self._null = backbone.encode_text([""])
        return super().setup(backbone)

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, a scalar: mean training loss of the retain items."""
        condition = drop_condition(retain.condition, self._null, self.unconditional, generator)
        return {"loss": backbone.loss(retain.target, condition, generator).mean()}
