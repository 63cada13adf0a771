"""What a method is. A method is one file and one YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, Target
from hmu.text.base import TextCondition

if TYPE_CHECKING:
    from hmu.methods.edit import Edit


@dataclass(frozen=True)
class Side:
    """One side (forget or retain) of a training step: cached targets and text conditions of the same clips.

    Attributes:
        target: clean targets ``(batch, ...)``.
        condition: encoded captions ``(batch, tokens, width)``.
    """

    target: Target
    condition: TextCondition


class Method:
    """Base of all methods.

    ``fits`` refuses a backbone with the reason before anything expensive happens.
    """

    name: str = "method"

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """None if the method can run on ``backbone``, else one line saying why not."""
        return None


class TrainedMethod(Method):
    """A method that learns by gradient. One generic LightningModule runs every subclass.

    Life cycle: ``setup`` marks the trainable weights (or injects adapters) and keeps a frozen teacher if it needs one;
    ``loss`` is called once a step; ``to_edit`` extracts the small artefact; the base is restored by the caller.
    """

    def setup(self, backbone: MotionBackbone) -> list[nn.Parameter]:
        """Prepare ``backbone`` in place and return the parameters to optimise."""
        raise NotImplementedError

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Named scalar terms; ``"loss"`` is minimised, the others are logged."""
        raise NotImplementedError

    def should_stop(self, terms: dict[str, float]) -> bool:
        """Whether the running averages of the terms say that training is done (or has begun to diverge)."""
        return False

    def to_edit(self, backbone: MotionBackbone) -> Edit:
        """The learned change as an :class:`~hmu.methods.edit.Edit`."""
        raise NotImplementedError
