"""Erased diffusion (Gandikota et al., "Erasing Concepts from Diffusion Models", ICCV 2023), for motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.checks import check_variant, require
from hmu.methods.base import Side, check_choice
from hmu.methods.teacher import Teacher, answers, drop_condition
from hmu.methods.upstream import salad_fork as upstream
from hmu.methods.weights import WeightMethod
from hmu.values import Variant


class Esd(WeightMethod):
    """Fine-tune chosen weights until the concept's prompts are answered like the anchor, or like the opposite.

    ``||out(x_t, c) - [out0(x_t, a) - eta (out0(x_t, c) - out0(x_t, empty))]||^2 + preserve_weight * preservation``,
    where ``out0`` is the frozen original in every term, ``x_t`` a noised forget clip, ``c`` its caption.

    Args:
        eta: negative guidance. 0 is neutral, above 0 repels. (The convention "1 is neutral" is this one plus 1.)
        anchor: prompt that replaces the concept; empty = unconditional, as published.
        train: trainable weights, a name from ``parameter_groups``; None = the backbone's ``unlearn_group``.
        preserve: what retain clips hold the model to: ``teacher`` (its own former answer) or ``target`` (the true one).
        preserve_weight: weight of that term; 0 switches it off.
        unconditional: share of retain items whose caption is dropped, so that the unconditional answer is kept too.
        dropout: train with the network's dropout; the teacher never has any.
        variant: ``default``, or ``upstream`` = the loss of the SALAD fork as it runs (no eta, noise as velocity).
        options: optimiser and length, see :class:`~hmu.methods.base.TrainedMethod`.

    Raises:
        ConfigError: for values that cannot work.
    """

    name = "esd"

    def __init__(
        self,
        *,
        eta: float = 1.0,
        anchor: str | None = "",
        train: str | None = None,
        preserve: Literal["teacher", "target"] = "teacher",
        preserve_weight: float = 1.0,
        unconditional: float = 0.1,
        dropout: bool = False,
        variant: Variant = "default",
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
        check_choice("preserve", preserve, ("teacher", "target"))
        require("method.eta", eta)
        require("method.preserve_weight", preserve_weight, at_least=0)
        require("method.unconditional", unconditional, at_least=0, below=1)
        self.eta, self.anchor = float(eta), anchor or ""
        self.variant = check_variant("method.variant", variant)
        self.preserve, self.preserve_weight, self.unconditional = preserve, float(preserve_weight), unconditional
        self._teacher: Teacher | None = None

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """``upstream`` needs a backbone with an explicit diffusion process."""
        return super().fits(backbone) or (upstream.fits(backbone) if self.variant == "upstream" else None)

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Freeze the teacher and mark the weights."""
        self._teacher = Teacher(backbone, self.anchor)
        return super().setup(backbone)

    def to(self, device: torch.device) -> None:
        """Move the teacher."""
        self.teacher.to(device)

    @property
    def teacher(self) -> Teacher:
        """The frozen original.

        Raises:
            RuntimeError: before :meth:`setup`.
        """
        if self._teacher is None:
            raise RuntimeError("setup(backbone) has not been called")
        return self._teacher

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, ``erase`` and ``preserve``; one teacher forward and one student forward."""
        if self.variant == "upstream":
            return upstream.esd_loss(backbone, self.teacher, forget, retain, self.preserve_weight, generator)
        noisy = backbone.corrupt(forget.target, generator)
        if self.preserve_weight == 0:
            lesson = self.teacher.teach(noisy, forget.condition, None, eta=self.eta)
            assert lesson.redirected is not None
            erase = backbone.distance(backbone.predict(noisy, forget.condition), lesson.redirected, noisy).mean()
            return {"loss": erase, "erase": erase.detach()}
        condition = drop_condition(retain.condition, self.teacher.null, self.unconditional, generator)
        kept = (backbone.corrupt(retain.target, generator), condition)
        asked = kept if self.preserve == "teacher" else None
        lesson = self.teacher.teach(noisy, forget.condition, asked, eta=self.eta)
        assert lesson.redirected is not None
        mine, held = answers(backbone, [(noisy, forget.condition), kept])
        erase = backbone.distance(mine, lesson.redirected, noisy).mean()
        wanted = kept[0].answer if lesson.kept is None else lesson.kept
        preserve = backbone.distance(held, wanted, kept[0]).mean()
        loss = erase + self.preserve_weight * preserve
        return {"loss": loss, "erase": erase.detach(), "preserve": preserve.detach()}
