"""A method: the text's way into the network is weakened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.methods.base import Side
from hmu.methods.weight_method import WeightMethod


@dataclass(kw_only=True)
class Fade(WeightMethod):
    """Gradient ascent on the forget side, ``strength`` times, beside descent on the retain side."""

    name: ClassVar[str] = "fade"

    strength: float

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss`` = retain - strength x forget."""
        kept = backbone.loss(retain.target, retain.condition, generator).mean()
        gone = backbone.loss(forget.target, forget.condition, generator).mean()
        return {"loss": kept - self.strength * gone, "retain": kept, "forget": gone}
