"""LoRA: low-rank adapters that unlearn one side and hold the other, or learn one side to be taken away later."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State
from hmu.errors import ConfigError
from hmu.methods import adapters
from hmu.methods.base import Side
from hmu.methods.edit import AdapterEdit, fingerprint
from hmu.methods.replay import Replay
from hmu.methods.teacher import Query, given, predict_jointly
from hmu.methods.teacher_method import TeacherMethod
from hmu.methods.upstream import salad_fork
from hmu.values import Count, Positive, Share, Weight

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Lora(TeacherMethod):
    """Train adapters on the backbone's linear layers.

    ``contrastive``: ``loss = retain - lambda_forget * forget``. ``specialise``: the backbone's own training loss on the
    forget side alone, so that the model learns to do nothing else (GaitDynamics' adapters). ``negate``: the same
    training, but the edit is stored with its sign turned, so that applying it takes away what was learned (Ilharco et
    al., ICLR 2023: task arithmetic).

    Args:
        mode: ``specialise`` and ``negate`` read neither ``lambda_forget``, nor what belongs to the forget term, nor the
            retain side.
        strength: of ``negate``: how many times what was learned is taken away; the stored edit has it built in.
        rank, alpha: of the adapters; the change of a weight is ``alpha / rank * B A``.
        dropout: in front of the adapters.
        lambda_forget: weight of the forget term.
        forget: ``ascent``, the true loss itself, as published: unbounded, diverges when trained long; bounded are
            ``hinge`` and ``npo`` of it, and ``redirect``: minus the distance to what an erased model outputs
            (:func:`~hmu.methods.teacher.erase_target`). A backbone that reads no text is redirected to
            :meth:`MotionBackbone.expected` of the retain clips so far.
        margin: of ``hinge``: how many times the original loss is added at most.
        beta: of ``npo``: sharpness of its bound.
        stop_retain, stop_forget: stop when the running true loss on clips of that side exceeds this multiple of its
            start; None = never.
        options: ``eta`` and ``anchor`` are those of ``redirect``; the published ``preserve`` is ``target``.
    """

    name: ClassVar[str] = "lora"
    retain_term: ClassVar[str] = "retain"

    mode: Literal["contrastive", "specialise", "negate"]
    strength: Positive
    rank: Count
    alpha: Positive
    dropout: Share
    lambda_forget: Weight
    forget: Literal["ascent", "hinge", "npo", "redirect"]
    margin: Positive
    beta: Positive
    stop_retain: Positive | None
    stop_forget: Positive | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode != "contrastive" and self.variant == "upstream":
            raise ConfigError("method.variant=upstream is a contrastive loss; use method.mode=contrastive with it")

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """A backbone needs ``adapter_targets``; ``upstream`` a diffusion process, ``redirect`` text or ``expected``."""
        if isinstance(backbone, MotionBackbone):
            if not backbone.adapter_targets:
                return f"{backbone.name} offers no linear layers for adapters (adapter_targets is empty)"
            silent = not backbone.reads_text and type(backbone).expected is MotionBackbone.expected
            if self.mode == "contrastive" and self.forget == "redirect" and silent:
                return (
                    "it reads no text and has no expected output, so method.forget=redirect has nowhere to point; "
                    "use method.forget=hinge or npo with method.preserve=target"
                )
        return super().fits(backbone)

    def check(self, backbone: MotionBackbone) -> None:
        """A rank beyond both sides of every layer means nothing more than the largest useful one."""
        super().check(backbone)
        sizes = [adapters.size_of(backbone, name) for name in backbone.adapter_targets]
        largest = max(sizes, key=min, default=None)
        if largest is not None and self.rank > min(largest):
            raise ConfigError(
                f"method.rank={self.rank}: the largest adapted layer of {backbone.name} has "
                f"{largest[0]} x {largest[1]} weights: no rank above {min(largest)} means anything"
            )

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Inject the adapters, say how many parameters train."""
        self._base = fingerprint(backbone)
        self._start: dict[str, float] = {}
        self._replay = Replay()
        super().setup(backbone)
        trained, total = adapters.count(backbone, self.rank)
        share = f"{trained:,} of {total:,} parameters ({100 * trained / total:.2f} %)"
        log.info("LoRA rank %d trains %s", self.rank, share)
        return adapters.inject(backbone, self.rank, self.alpha, self.dropout)

    def teardown(self, backbone: MotionBackbone) -> None:
        """Take the adapters off."""
        adapters.remove(backbone.network())
        super().teardown(backbone)

    @property
    def asks_teacher(self) -> bool:
        """Only a contrast needs the frozen original."""
        return self.mode == "contrastive"

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Scalars: ``loss``; of a contrast its two parts, and the true losses of both sides (``forget_loss`` …)."""
        if self.mode != "contrastive":
            return {"loss": backbone.loss(forget.target, forget.condition, generator).mean()}
        if self.variant == "upstream":
            return salad_fork.contrastive_loss(backbone, forget, retain, generator, self.lambda_forget)
        noisy = backbone.corrupt(forget.target, generator)
        request = self.retain_request(backbone, retain, generator)
        teacher_output, retain_target = self.teacher.predict(
            self._forget_query(backbone, noisy, forget, retain), self.retain_target(request)
        )
        forget_output, retain_output = predict_jointly(backbone, [(noisy, forget.condition), request])
        state = request[0]
        forgotten = self._forgotten(backbone, noisy, forget_output, teacher_output).mean()
        retained = backbone.distance(retain_output, retain_target, state).mean()
        return {
            "loss": retained - self.lambda_forget * forgotten,
            "retain": retained,
            "forget": forgotten,
            "retain_loss": backbone.distance(retain_output.detach(), state.target, state).mean(),
            "forget_loss": backbone.distance(forget_output.detach(), noisy.target, noisy).mean(),
        }

    def _forget_query(self, backbone: MotionBackbone, noisy: State, forget: Side, retain: Side) -> Query:
        """What the forget term compares the output with."""
        if self.forget == "ascent":
            return given(lambda: noisy.target)
        if self.forget != "redirect":
            return self.teacher.output(noisy, forget.condition)
        if backbone.reads_text:
            return self.teacher.erased(noisy, forget.condition, self.eta)
        clips = self._replay.add(retain.target)
        return given(lambda: backbone.expected(noisy, clips))

    def _forgotten(self, backbone: MotionBackbone, noisy: State, output: Tensor, compared: Tensor) -> Tensor:
        """How much is forgotten, per item ``(batch,)``; it grows as the concept is forgotten."""
        if self.forget == "redirect":
            return -backbone.distance(output, compared, noisy)
        loss = backbone.distance(output, noisy.target, noisy)
        if self.forget == "ascent":
            return loss
        original = backbone.distance(compared, noisy.target, noisy)
        return hinge(loss, original, self.margin) if self.forget == "hinge" else npo(loss, original, self.beta)

    def should_stop(self, terms: dict[str, float]) -> str | None:
        """Stop when retain clips get much worse (divergence), or forget clips bad enough.

        The true losses of both sides, averaged over ``stop_window`` steps, are compared with their first such average.
        """
        for key, limit in {"retain_loss": self.stop_retain, "forget_loss": self.stop_forget}.items():
            if key not in terms:
                continue
            start = self._start.setdefault(key, terms[key])
            if limit is not None and terms[key] > limit * start:
                return f"{key} {terms[key]:.4g} exceeds {limit:g} times its start {start:.4g}"
        return super().should_stop(terms)

    def to_edit(self, backbone: MotionBackbone) -> AdapterEdit:
        """The adapters' factors; of ``negate`` with the sign turned (of ``B``, as a weight changes by ``B A``)."""
        factors = adapters.factors(backbone.network())
        if self.mode == "negate":
            factors = {name: (a, -self.strength * b) for name, (a, b) in factors.items()}
        facts: dict[str, Any] = {"method": self.name, "base": self._base, "settings": self.settings}
        return AdapterEdit(factors, alpha=self.alpha, dropout=self.dropout, **facts)


def hinge(loss: Tensor, original: Tensor, margin: float) -> Tensor:
    """A loss ``(batch,)`` up to ``(1 + margin)`` times the original model's on the same states; no gradient beyond."""
    return torch.minimum(loss, (1 + margin) * original)


def npo(loss: Tensor, original: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation (Zhang et al., 2024) of losses ``(batch,)``, at most 0.

    ``2 / beta log sigmoid(beta (L - L0))``, with ``L0 - L`` for the log-likelihood ratio as in Diffusion-DPO (Wallace
    et al. 2023). The gradient fades as ``L - L0`` grows past ``1 / beta``.
    """
    return 2 / beta * torch.nn.functional.logsigmoid(beta * (loss - original))
