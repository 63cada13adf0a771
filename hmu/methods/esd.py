"""Erased diffusion (Gandikota et al., "Erasing Concepts from Diffusion Models", ICCV 2023), for motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.methods.base import Side
from hmu.methods.teacher import predict_jointly
from hmu.methods.teacher_method import Objective, TeacherMethod
from hmu.methods.upstream import salad_fork
from hmu.methods.weight_method import WeightMethod
from hmu.values import Weight


@dataclass(kw_only=True)
class Esd(TeacherMethod, WeightMethod):
    """Fine-tune chosen weights until the concept's prompts mean the anchor, or the opposite of the concept.

    ``||out(x_t, c) - [out0(x_t, a) - eta (out0(x_t, c) - out0(x_t, empty))]||^2 + preserve_weight * preservation``,
    where ``out0`` is the frozen original in every term, ``x_t`` a noised forget clip, ``c`` its caption.

    Args:
        preserve_weight: weight of the preservation term; 0 switches it off.
    """

    name: ClassVar[str] = "esd"
    retain_term: ClassVar[str] = "preserve"

    preserve_weight: Weight

    def objective(self) -> Objective:
        """The published loss, or the fork's."""
        if self.variant == "upstream":
            return salad_fork.ErasingLoss(self.teacher, self.preserve_weight)
        return self.terms if self.preserve_weight else self.erasing

    def erasing(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """``loss`` and ``erase`` alone, scalars: the retain side is not looked at."""
        noisy = backbone.corrupt(forget.target, generator)
        (erased_target,) = self.teacher.predict(self.teacher.erased(noisy, forget.condition, self.eta))
        erase = backbone.distance(backbone.predict(noisy, forget.condition), erased_target, noisy).mean()
        return {"loss": erase, "erase": erase}

    def terms(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Scalars ``loss``, ``erase`` and ``preserve``; one teacher forward and one student forward."""
        noisy = backbone.corrupt(forget.target, generator)
        request = self.retain_request(backbone, retain, generator)
        erased_target, retain_target = self.teacher.predict(
            self.teacher.erased(noisy, forget.condition, self.eta), self.retain_target(request)
        )
        forget_output, retain_output = predict_jointly(backbone, [(noisy, forget.condition), request])
        erase = backbone.distance(forget_output, erased_target, noisy).mean()
        preserve = backbone.distance(retain_output, retain_target, request[0]).mean()
        return {"loss": erase + self.preserve_weight * preserve, "erase": erase, "preserve": preserve}
