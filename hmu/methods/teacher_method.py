"""Methods that ask the frozen original for the erased target, and for the retain target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from hmu.backbones.base import MotionBackbone
from hmu.checks import check_variant
from hmu.methods.base import Side, TrainedMethod
from hmu.methods.teacher import Query, Request, Teacher, drop_condition, given
from hmu.methods.upstream import salad_fork
from hmu.values import Share, Variant


@dataclass(kw_only=True)
class TeacherMethod(TrainedMethod):
    """Training that redirects the forget side, and holds the retain side, by outputs of the frozen original.

    Args:
        eta: negative guidance. 0 is neutral, above 0 repels. (The convention "1 is neutral" is this one plus 1.)
        anchor: prompt that replaces the concept; empty = unconditional, as published.
        preserve: what retain clips hold the model to: ``teacher`` (its own former output) or ``target`` (the true one).
        unconditional: share of retain items whose caption is dropped, so that the unconditional output is kept too.
        variant: ``default``, or ``upstream`` = the loss of the SALAD fork as it runs: :mod:`hmu.methods.upstream`.
    """

    eta: float
    anchor: str | None
    preserve: Literal["teacher", "target"]
    unconditional: Share
    variant: Variant

    def __post_init__(self) -> None:
        super().__post_init__()
        self.anchor = self.anchor or ""
        self.variant = check_variant("method.variant", self.variant)
        self._teacher: Teacher | None = None

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """``upstream`` needs a backbone with an explicit diffusion process."""
        return super().fits(backbone) or (salad_fork.fits(backbone) if self.variant == "upstream" else None)

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Freeze the teacher, mark the weights."""
        self._teacher = Teacher(backbone, self.anchor or "") if self.asks_teacher else None
        return super().setup(backbone)

    @property
    def asks_teacher(self) -> bool:
        """Whether there is a frozen original at all."""
        return True

    @property
    def teacher(self) -> Teacher:
        """The frozen original; there is none before :meth:`setup`."""
        if self._teacher is None:
            raise RuntimeError("there is no teacher: setup(backbone) has not been called, or this method asks none")
        return self._teacher

    def to(self, device: torch.device) -> None:
        """Move the teacher."""
        super().to(device)
        if self._teacher is not None:
            self._teacher.to(device)

    def retain_request(self, backbone: MotionBackbone, retain: Side, generator: torch.Generator | None) -> Request:
        """A corrupted retain batch with its captions, some of them dropped."""
        condition = drop_condition(retain.condition, self.teacher.null, self.unconditional, generator)
        return backbone.corrupt(retain.target, generator), condition

    def retain_target(self, request: Request) -> Query:
        """What the model is held to on a retain batch."""
        return given(lambda: request[0].target) if self.preserve == "target" else self.teacher.output(*request)
