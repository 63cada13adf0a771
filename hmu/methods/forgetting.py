"""Forget terms: what "worse on the concept" may mean. Each is a small object, each but one is bounded.

``loss = retain - weight * forget``: a term grows as the concept is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone, State


@dataclass(frozen=True)
class Evidence:
    """What a term may look at, for one batch of forget clips.

    Attributes:
        backbone: gives the distance in the model's own parametrisation.
        state: the corrupted forget clips.
        prediction: the student's answer to their captions, with gradient.
        concept: the frozen teacher's answer to their captions.
        redirected: the frozen teacher's erased answer, :func:`hmu.methods.teacher.erase_target`; of a backbone without
            text what one that knows the retain side alone would answer.
    """

    backbone: MotionBackbone
    state: State
    prediction: Tensor
    concept: Tensor | None
    redirected: Tensor | None

    def true_loss(self) -> Tensor:
        """The student's distance to the model's true target ``(batch,)``."""
        return self.backbone.distance(self.prediction, self.state.answer, self.state)

    def base_loss(self) -> Tensor:
        """The teacher's distance to the model's true target ``(batch,)``."""
        assert self.concept is not None
        return self.backbone.distance(self.concept, self.state.answer, self.state)


class ForgetTerm:
    """One meaning of forgetting.

    Attributes:
        needs_concept, needs_redirected: which answers of the teacher it reads.
    """

    needs_concept = False
    needs_redirected = False

    def __call__(self, evidence: Evidence) -> Tensor:
        """How much is forgotten, per item ``(batch,)``."""
        raise NotImplementedError


class Ascent(ForgetTerm):
    """The true loss itself, as published for contrastive LoRA: unbounded, diverges when trained long."""

    def __call__(self, evidence: Evidence) -> Tensor:
        """``L``."""
        return evidence.true_loss()


@dataclass(frozen=True)
class Hinge(ForgetTerm):
    """The true loss up to ``(1 + margin)`` times the original model's on the same state; no gradient beyond."""

    margin: float = 1.0
    needs_concept = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """``min(L, (1 + margin) L0)``."""
        return torch.minimum(evidence.true_loss(), (1 + self.margin) * evidence.base_loss())


@dataclass(frozen=True)
class Npo(ForgetTerm):
    """Negative preference optimisation (Zhang et al., 2024), with ``-(L - L0)`` for the log-likelihood ratio.

    The substitution is Diffusion-DPO's (Wallace et al. 2023). The gradient fades as ``L - L0`` grows past ``1 / beta``.
    """

    beta: float = 10.0
    needs_concept = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """``2 / beta * log sigmoid(beta (L - L0))``, at most 0."""
        gap = evidence.true_loss() - evidence.base_loss()
        return 2 / self.beta * torch.nn.functional.logsigmoid(self.beta * gap)


class Redirect(ForgetTerm):
    """Minus the distance to the teacher's erased answer (anchor and ``eta`` as in ESD): says where to go, at most 0."""

    needs_redirected = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """``-d(out(x_t, c), out0(x_t, a) - eta (out0(x_t, c) - out0(x_t, empty)))``."""
        assert evidence.redirected is not None
        return -evidence.backbone.distance(evidence.prediction, evidence.redirected, evidence.state)
