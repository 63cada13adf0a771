"""What a method is. A method is one file and one YAML."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, Target
from hmu.checks import check_fields, require_memory
from hmu.contract import Contract
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.methods.edit import Edit
from hmu.optimisation import Optimisation
from hmu.text.base import TextCondition
from hmu.values import Count

PLANNED = 16  # bytes that planning takes per item of a batch and step: which clip, which caption


@dataclass(frozen=True)
class Side:
    """One side (forget or retain) of a training step: clean targets ``(batch, ...)`` and their encoded captions."""

    target: Target
    condition: TextCondition

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device | str) -> Side:
        """The same side on ``device``."""
        return Side(self.target.to(device), self.condition.to(device))


@dataclass(kw_only=True)
class Method:
    """Base of all methods: dataclasses whose fields are the keys of ``configs/method/<name>.yaml``.

    Their numbers live in that file; Python gets them with ``configured("method", "esd", steps=3)``
    (:mod:`hmu.compose`). A mix-in is a dataclass of the same kind that stands before the method among the bases and
    calls ``super()`` in whatever it extends.
    """

    name: ClassVar[str] = "method"

    def __post_init__(self) -> None:
        """Refuse values that do not fit their annotations; a class adds what those cannot say."""
        check_fields(self, "method")

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """None if the method can run on ``backbone``, else one line saying why not, before anything expensive."""
        return None

    def check(self, backbone: MotionBackbone) -> None:
        """Refuse arguments that a built backbone shows to be impossible, before anything expensive happens.

        Raises:
            ConfigError: naming the key and what the backbone has.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as they go into ``edit.json``."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}


@dataclass(kw_only=True)
class EditMethod(Contract, Method):
    """A method that computes its edit directly: no gradients, seconds. A class without ``edit`` is refused."""

    noun = "edit method"

    @abstractmethod
    def edit(
        self,
        backbone: MotionBackbone,
        forget: MotionClips,
        retain: MotionClips,
        concept: Concept,
        generator: torch.Generator | None = None,
    ) -> Edit:
        """Compute the edit from the training clips of both sides; ``backbone`` is only read.

        ``generator`` draws whatever is random, on the CPU.
        """

    def save_findings(self, folder: Path) -> list[Path]:
        """Write what :meth:`edit` found besides the edit, if anything, into a run folder; returns the files."""
        return []


@dataclass(kw_only=True)
class TrainedMethod(Contract, Optimisation, Method):
    """A method that learns by gradient: ``setup``, ``loss`` once a step, ``to_edit``; the caller restores the base.

    Args:
        stop_window: steps that the running averages of the loss terms cover, which ``should_stop`` is handed.
        epochs: count the forget side, whose last batch is filled.
    """

    noun = "trained method"
    place: ClassVar[str] = "method"
    drop_last: ClassVar[bool] = False
    retain_term: ClassVar[str] = "loss"  #: the term of :meth:`loss` that says how well the retain side is held

    stop_window: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_memory("batch_size", self.steps or 1)

    def total_steps(self, clips: int) -> int:
        """Optimiser steps for a forget side of ``clips`` clips."""
        steps = super().total_steps(clips)
        self._require_memory("epochs", steps)
        return steps

    def _require_memory(self, key: str, steps: int) -> None:
        needed = steps * self.batch_size * PLANNED
        require_memory(f"method.{key}", getattr(self, key), needed, "the plan of all batches")

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Prepare ``backbone`` in place (here: freeze it) and return the parameters to optimise, by name."""
        backbone.requires_grad_(False)
        return {}

    @abstractmethod
    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Named scalar terms; ``"loss"`` is minimised, the others are logged (a mix-in may weigh them anew)."""

    def should_stop(self, terms: dict[str, float]) -> str | None:
        """Why training is done (or has begun to diverge), judged by running averages of the terms; None to go on."""
        return None

    @abstractmethod
    def to_edit(self, backbone: MotionBackbone) -> Edit:
        """The learned change."""

    def to(self, device: torch.device) -> None:
        """Move what the method keeps outside the backbone (a teacher); called once, before the first step."""

    def teardown(self, backbone: MotionBackbone) -> None:
        """Take off what ``setup`` put on the backbone; weights are restored by the caller."""


def offers(backbone: type[MotionBackbone] | MotionBackbone, handle: str) -> bool:
    """Whether a backbone offers an optional handle (a method that returns an empty mapping where it has nothing).

    Of a class only the definition is looked at, so that a pair can be refused before any weights are read.
    """
    if isinstance(backbone, type):
        return getattr(backbone, handle) is not getattr(MotionBackbone, handle)
    return bool(getattr(backbone, handle)())
