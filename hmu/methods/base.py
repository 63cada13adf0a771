"""What a method is. A method is one file and one YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, Target
from hmu.checks import require, require_memory, require_pair, require_time
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.text.base import TextCondition

if TYPE_CHECKING:
    from hmu.methods.edit import Edit

STEP_SECONDS = 0.001  # no step of any model here is faster
PLANNED = 16  # bytes that planning takes per item of a batch and step: which clip, which caption


@dataclass(frozen=True)
class Side:
    """One side (forget or retain) of a training step: cached targets and text conditions of the same clips.

    Attributes:
        target: clean targets ``(batch, ...)``.
        condition: encoded captions ``(batch, tokens, width)``.
    """

    target: Target
    condition: TextCondition

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device | str) -> Side:
        """The same side on ``device``."""
        return Side(self.target.to(device), self.condition.to(device))


class Method:
    """Base of all methods.

    ``fits`` refuses a backbone with the reason before anything expensive happens; ``check`` refuses values.
    """

    name: ClassVar[str] = "method"

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """None if the method can run on ``backbone``, else one line saying why not."""
        return None

    def check(self, backbone: MotionBackbone) -> None:
        """Refuse arguments that a built backbone shows to be impossible, before anything expensive happens.

        Raises:
            ConfigError: naming the key and what the backbone has.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as they go into ``edit.json``."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}


class EditMethod(Method):
    """A method that computes its edit directly: no gradients, seconds."""

    def edit(
        self,
        backbone: MotionBackbone,
        forget: MotionClips,
        retain: MotionClips,
        concept: Concept,
        generator: torch.Generator | None = None,
    ) -> Edit:
        """Compute the edit; ``backbone`` is only read.

        Args:
            backbone: the base.
            forget, retain: clips of both sides of the training split.
            concept: its name goes into the edit; its anchor or target may be used.
            generator: of whatever is drawn at random, on the CPU.
        """
        raise NotImplementedError

    def save_findings(self, folder: Path) -> list[Path]:
        """Write what :meth:`edit` found besides the edit, if anything, into a run folder; returns the files."""
        return []


class TrainedMethod(Method):
    """A method that learns by gradient. One generic LightningModule runs every subclass.

    Life cycle: ``setup`` marks the trainable weights (or injects adapters) and keeps a frozen teacher if it needs one;
    ``loss`` is called once a step; ``to_edit`` extracts the small artefact; the base is restored by the caller.

    Args:
        steps: optimiser steps; or give ``epochs`` and leave it None.
        epochs: passes over the *forget* side (sets the steps when ``steps`` is None).
        batch_size: clips of each side per step, over all processes.
        lr: learning rate of AdamW, constant after ``warmup`` steps of linear growth.
        betas, weight_decay: AdamW.
        grad_clip: largest gradient norm, None for no clipping.
        stop_window: steps that the running averages handed to ``should_stop`` cover.

    Raises:
        ConfigError: for a training without length or with numbers out of range.
    """

    def __init__(
        self,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-4,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        warmup: int = 0,
        grad_clip: float | None = None,
        stop_window: int = 20,
    ) -> None:
        if (steps is None) == (epochs is None):
            raise ConfigError("method: give either steps or epochs (one of them must be null)")
        for key, value in {"steps": steps, "epochs": epochs}.items():
            require(f"method.{key}", value, at_least=1, whole=True, null=True)
        for key, value in {"batch_size": batch_size, "stop_window": stop_window}.items():
            require(f"method.{key}", value, at_least=1, whole=True)
        require("method.lr", lr, above=0)
        require("method.warmup", warmup, at_least=0, whole=True)
        require("method.weight_decay", weight_decay, at_least=0)
        require("method.grad_clip", grad_clip, above=0, null=True)
        self.betas = require_pair("method.betas", betas)
        require_time("method.steps", steps, steps or 0, STEP_SECONDS, "steps")
        require_memory("method.batch_size", batch_size, (steps or 1) * batch_size * PLANNED, "the plan of all batches")
        self.steps, self.epochs, self.batch_size = steps, epochs, batch_size
        self.lr, self.weight_decay = float(lr), float(weight_decay)
        self.warmup, self.grad_clip, self.stop_window = warmup, grad_clip, stop_window

    def total_steps(self, forget_clips: int) -> int:
        """Optimiser steps for a forget side of ``forget_clips`` clips."""
        if self.steps is not None:
            return self.steps
        steps = int(self.epochs or 0) * max(1, -(-forget_clips // self.batch_size))
        require_time("method.epochs", self.epochs, steps, STEP_SECONDS, "steps")
        require_memory("method.epochs", self.epochs, steps * self.batch_size * PLANNED, "the plan of all batches")
        return steps

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Prepare ``backbone`` in place and return the parameters to optimise, by a name without meaning to others."""
        raise NotImplementedError

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Named scalar terms; ``"loss"`` is minimised, the others are logged."""
        raise NotImplementedError

    def should_stop(self, terms: dict[str, float]) -> str | None:
        """Why training is done (or has begun to diverge), judged by running averages of the terms; None to go on."""
        return None

    def to_edit(self, backbone: MotionBackbone) -> Edit:
        """The learned change as an :class:`~hmu.methods.edit.Edit`."""
        raise NotImplementedError

    def to(self, device: torch.device) -> None:
        """Move what the method keeps outside the backbone (a teacher); called once, before the first step."""

    def teardown(self, backbone: MotionBackbone) -> None:
        """Take off what ``setup`` put on the backbone; weights are restored by the caller."""


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among ``choices``.

    Raises:
        ConfigError: naming the key and the choices.
    """
    if value not in choices:
        raise ConfigError(f"method.{key}={value}: expected one of {', '.join(choices)}")


def offers(backbone: type[MotionBackbone] | MotionBackbone, handle: str) -> bool:
    """Whether a backbone offers an optional handle (a method that returns an empty mapping where it has nothing).

    Of a class only the definition is looked at, so that a pair can be refused before any weights are read.
    """
    if isinstance(backbone, type):
        return getattr(backbone, handle) is not getattr(MotionBackbone, handle)
    return bool(getattr(backbone, handle)())
