"""LoRA: low-rank adapters that unlearn one side and hold the other, or learn one side to be taken away later."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.checks import check_variant, require
from hmu.errors import ConfigError
from hmu.methods import adapters
from hmu.methods.base import Side, TrainedMethod, check_choice
from hmu.methods.edit import AdapterEdit, fingerprint
from hmu.methods.forgetting import Ascent, Evidence, ForgetTerm, Hinge, Npo, Redirect
from hmu.methods.memory import Memory
from hmu.methods.teacher import Teacher, answers, drop_condition
from hmu.methods.upstream import salad_fork as upstream
from hmu.values import Variant

log = logging.getLogger(__name__)


class Lora(TrainedMethod):
    """Train adapters on the backbone's linear layers.

    ``contrastive``: ``loss = retain - lambda_forget * forget``. ``specialise``: the backbone's own training loss on the
    forget side alone, so that the model learns to do nothing else (GaitDynamics' adapters). ``negate``: the same
    training, but the edit is stored with its sign turned, so that applying it takes away what was learned (Ilharco et
    al., ICLR 2023: task arithmetic).

    Args:
        mode: ``contrastive``, ``specialise`` or ``negate``; the last two read neither ``lambda_forget`` nor what
            belongs to the forget term, nor the retain side.
        strength: of ``negate``: how many times what was learned is taken away; the stored edit has it built in.
        rank, alpha: of the adapters; the change of a weight is ``alpha / rank * B A``.
        dropout: dropout in front of the adapters.
        lambda_forget: weight of the forget term.
        forget: ``ascent`` (published, unbounded), ``hinge``, ``npo``, ``redirect``: :mod:`hmu.methods.forgetting`.
        margin: of ``hinge``: how many times the original loss is added at most.
        beta: of ``npo``: sharpness of its bound.
        eta, anchor: of ``redirect``: as in :class:`~hmu.methods.esd.Esd`. A backbone that reads no text is redirected
            to what one that knows the retain side alone would answer, :meth:`MotionBackbone.expected`.
        preserve: what retain clips hold the model to: ``target`` (the true one, as published) or ``teacher``.
        unconditional: share of retain items whose caption is dropped, so that the unconditional answer is kept too.
        stop_retain: stop when the running true loss on retain clips exceeds this multiple of its start; None = never.
        stop_forget: stop when the running true loss on forget clips exceeds this multiple of its start; None = never.
        variant: ``default``, or ``upstream`` = the SALAD fork's loss as it runs (noise as velocity, linear betas).
        options: optimiser and length, see :class:`~hmu.methods.base.TrainedMethod`.

    Raises:
        ConfigError: for values that cannot work.
    """

    name = "lora"

    def __init__(
        self,
        *,
        mode: Literal["contrastive", "specialise", "negate"] = "contrastive",
        strength: float = 1.0,
        rank: int = 16,
        alpha: float = 16.0,
        dropout: float = 0.0,
        lambda_forget: float = 1.0,
        forget: Literal["ascent", "hinge", "npo", "redirect"] = "redirect",
        margin: float = 1.0,
        beta: float = 10.0,
        eta: float = 1.0,
        anchor: str | None = "",
        preserve: Literal["teacher", "target"] = "teacher",
        unconditional: float = 0.1,
        stop_retain: float | None = 2.0,
        stop_forget: float | None = None,
        variant: Variant = "default",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 1e-6,
        warmup: int = 0,
        grad_clip: float | None = 1.0,
        stop_window: int = 20,
    ) -> None:
        super().__init__(
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            warmup=warmup,
            grad_clip=grad_clip,
            stop_window=stop_window,
        )
        check_choice("mode", mode, ("contrastive", "specialise", "negate"))
        check_choice("preserve", preserve, ("teacher", "target"))
        check_choice("forget", forget, ("ascent", "hinge", "npo", "redirect"))
        require("method.rank", rank, at_least=1, whole=True)
        for key, value in {"alpha": alpha, "margin": margin, "beta": beta, "strength": strength}.items():
            require(f"method.{key}", value, above=0)
        for key, value in {"dropout": dropout, "unconditional": unconditional}.items():
            require(f"method.{key}", value, at_least=0, below=1)
        require("method.lambda_forget", lambda_forget, at_least=0)
        require("method.eta", eta)
        for key, limit in {"stop_retain": stop_retain, "stop_forget": stop_forget}.items():
            require(f"method.{key}", limit, above=0, null=True)
        self.variant = check_variant("method.variant", variant)
        if mode != "contrastive" and self.variant == "upstream":
            raise ConfigError(f"method.variant={variant} is a contrastive loss; use method.mode=contrastive with it")
        self.mode, self.strength = mode, float(strength)
        self.rank, self.alpha, self.dropout = int(rank), float(alpha), float(dropout)
        self.lambda_forget, self.forget = float(lambda_forget), forget
        self.margin, self.beta, self.eta, self.anchor = float(margin), float(beta), float(eta), anchor or ""
        self.preserve, self.unconditional = preserve, float(unconditional)
        self.stop_retain, self.stop_forget = stop_retain, stop_forget
        terms: dict[str, ForgetTerm] = {
            "ascent": Ascent(),
            "hinge": Hinge(self.margin),
            "npo": Npo(self.beta),
            "redirect": Redirect(),
        }
        self._term = terms[forget]
        self._teacher: Teacher | None = None
        self._first: dict[str, float] | None = None
        self._seen = Memory()
        self._base = ""

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """A backbone needs ``adapter_targets``; ``upstream`` a diffusion process, ``redirect`` text or ``expected``."""
        if isinstance(backbone, MotionBackbone):
            if not backbone.adapter_targets:
                return f"{backbone.name} offers no linear layers for adapters (adapter_targets is empty)"
            silent = not backbone.reads_text and type(backbone).expected is MotionBackbone.expected
            if self.mode == "contrastive" and self._term.needs_redirected and silent:
                return (
                    "it reads no text and tells no expected answer, so method.forget=redirect has nowhere to point; "
                    "use method.forget=hinge or npo with method.preserve=target"
                )
        return upstream.fits(backbone) if self.variant == "upstream" else None

    def check(self, backbone: MotionBackbone) -> None:
        """A rank beyond both sides of every layer means nothing more than the largest useful one."""
        sizes = [adapters.size_of(backbone, name) for name in backbone.adapter_targets]
        largest = max(sizes, key=min, default=None)
        if largest is not None and self.rank > min(largest):
            raise ConfigError(
                f"method.rank={self.rank}: the largest adapted layer of {backbone.name} has "
                f"{largest[0]} x {largest[1]} weights: no rank above {min(largest)} means anything"
            )

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Freeze the teacher (``contrastive`` has one), inject the adapters, say how many parameters train."""
        self._base, self._first = fingerprint(backbone), None
        self._teacher = Teacher(backbone, self.anchor) if self.mode == "contrastive" else None
        self._seen = Memory()
        log.info("LoRA rank %d trains %s", self.rank, adapters.share(*adapters.count(backbone, self.rank)))
        return adapters.inject(backbone, self.rank, self.alpha, self.dropout)

    @property
    def teacher(self) -> Teacher:
        """The frozen original.

        Raises:
            RuntimeError: before :meth:`setup`.
        """
        if self._teacher is None:
            raise RuntimeError("setup(backbone) has not been called")
        return self._teacher

    def to(self, device: torch.device) -> None:
        """Move the teacher, if there is one."""
        if self._teacher is not None:
            self._teacher.to(device)

    def teardown(self, backbone: MotionBackbone) -> None:
        """Take the adapters off."""
        adapters.remove(backbone.network())

    def loss(
        self, backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``loss``, its two parts, and the true losses of both sides (``forget_loss``, ``retain_loss``).

        ``specialise`` and ``negate`` have one term: the training loss of the forget items, without the retain side.
        """
        if self.mode != "contrastive":
            return {"loss": backbone.loss(forget.target, forget.condition, generator).mean()}
        if self.variant == "upstream":
            return upstream.lora_loss(backbone, forget, retain, self.lambda_forget, generator)
        noisy = backbone.corrupt(forget.target, generator)
        condition = drop_condition(retain.condition, self.teacher.null, self.unconditional, generator)
        kept = (backbone.corrupt(retain.target, generator), condition)
        lesson = self.teacher.teach(
            noisy,
            forget.condition,
            kept if self.preserve == "teacher" else None,
            eta=self.eta,
            redirect=self._term.needs_redirected and backbone.reads_text,
            ask_concept=self._term.needs_concept,
        )
        redirected = lesson.redirected
        if self._term.needs_redirected and not backbone.reads_text:
            redirected = backbone.expected(noisy, self._seen.add(retain.target))
        mine, held = answers(backbone, [(noisy, forget.condition), kept])
        forgotten = self._term(Evidence(backbone, noisy, mine, lesson.concept, redirected)).mean()
        true = backbone.distance(held, kept[0].answer, kept[0]).mean()
        retained = true if lesson.kept is None else backbone.distance(held, lesson.kept, kept[0]).mean()
        return {
            "loss": retained - self.lambda_forget * forgotten,
            "retain": retained.detach(),
            "forget": forgotten.detach(),
            "retain_loss": true.detach(),
            "forget_loss": backbone.distance(mine.detach(), noisy.answer, noisy).mean(),
        }

    def should_stop(self, terms: dict[str, float]) -> str | None:
        """Stop when retain clips get much worse (divergence), or forget clips bad enough.

        The true losses of both sides, averaged over ``stop_window`` steps, are compared with their first such average.
        """
        watched = {"retain_loss": self.stop_retain, "forget_loss": self.stop_forget}
        if any(key not in terms for key in watched):
            return None
        if self._first is None:
            self._first = {key: terms[key] for key in watched}
        for key, limit in watched.items():
            if limit is not None and terms[key] > limit * self._first[key]:
                return f"{key} {terms[key]:.4g} exceeds {limit:g} times its start {self._first[key]:.4g}"
        return None

    def to_edit(self, backbone: MotionBackbone) -> AdapterEdit:
        """The adapters' factors; of ``negate`` with the sign turned (of ``B``, as a weight changes by ``B A``)."""
        found = adapters.factors(backbone.network())
        if self.mode == "negate":
            found = {name: (a, -self.strength * b) for name, (a, b) in found.items()}
        facts: dict[str, Any] = {"method": self.name, "base": self._base, "settings": self.settings}
        return AdapterEdit(found, alpha=self.alpha, dropout=self.dropout, **facts)
