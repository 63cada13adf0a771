"""Erased diffusion (Gandikota et al., "Erasing Concepts from Diffusion Models", ICCV 2023), for motion."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.methods.base import Side
from hmu.methods.teacher import predict_jointly
from hmu.methods.teacher_method import TeacherMethod
from hmu.methods.upstream import salad_fork
from hmu.methods.weight_method import WeightMethod
from hmu.values import Weight

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Esd(TeacherMethod, WeightMethod):
    """Fine-tune chosen weights until the concept's prompts mean the anchor, or the opposite of the concept.

    ``||out(x_t, c) - [out0(x_t, a) - eta (out0(x_t, c) - out0(x_t, empty))]||^2 + preserve_weight * preservation``,
    where ``out0`` is the frozen original in every term, ``x_t`` a noised forget clip, ``c`` its caption.

    Args:
        preserve_weight: weight of the preservation term; at 0 the retain side is not looked at.
    """

    name: ClassVar[str] = "esd"
    retain_term: ClassVar[str] = "preserve"

    preserve_weight: Weight

    def check(self, backbone: MotionBackbone) -> None:
        """Warn where no prompt means anything: the erased target is the model's own output then."""
        super().check(backbone)
        if not backbone.reads_text:
            log.warning(
                "method=%s erases nothing on backbone %s, which reads no text: to it every prompt already means the "
                "anchor; use method=lora",
                self.name,
                backbone.name,
            )

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Scalars ``loss``, ``erase`` and ``preserve``; one teacher forward and one student forward."""
        if self.variant == "upstream":
            return salad_fork.erasing_loss(self.teacher, backbone, forget, retain, generator, self.preserve_weight)
        noisy = backbone.corrupt(forget.target, generator)
        requests, queries = [(noisy, forget.condition)], [self.teacher.erased(noisy, forget.condition, self.eta)]
        if self.preserve_weight:
            requests.append(self.retain_request(backbone, retain, generator))
            queries.append(self.retain_target(requests[-1]))
        targets, outputs = self.teacher.predict(*queries), predict_jointly(backbone, requests)
        erase, *preserve = (
            backbone.distance(output, target, state).mean()
            for output, target, (state, _) in zip(outputs, targets, requests, strict=True)
        )
        if not preserve:
            return {"loss": erase, "erase": erase}
        return {"loss": erase + self.preserve_weight * preserve[0], "erase": erase, "preserve": preserve[0]}
