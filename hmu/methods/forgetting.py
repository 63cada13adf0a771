"""Forget terms: what "worse on the concept" may mean. Each is a small object, each but one is bounded.

``loss = retain - weight * forget``: a term grows as the concept is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone, State
from hmu.methods.teacher import Query, Teacher, given
from hmu.text.base import TextCondition


@dataclass(frozen=True)
class Evidence:
    """What a term may look at, for one batch of forget clips.

    Attributes:
        backbone: gives the distance in the model's own parametrisation.
        state: the corrupted forget clips.
        forget_output: the student's output for their captions, with gradient.
        teacher_output: what the term's :meth:`ForgetTerm.query` asked for (for :class:`Redirect` on a backbone without
            text: what a model that knows the retain side alone would output).
    """

    backbone: MotionBackbone
    state: State
    forget_output: Tensor
    teacher_output: Tensor

    def distance(self, output: Tensor) -> Tensor:
        """Of an output to the model's true target ``(batch,)``."""
        return self.backbone.distance(output, self.state.target, self.state)


class ForgetTerm:
    """One meaning of forgetting."""

    def query(self, teacher: Teacher, state: State, condition: TextCondition) -> Query:
        """What it needs of the frozen original: its output for the forget captions."""
        return teacher.output(state, condition)

    def __call__(self, evidence: Evidence) -> Tensor:
        """How much is forgotten, per item ``(batch,)``."""
        raise NotImplementedError


class Ascent(ForgetTerm):
    """The true loss itself, as published for contrastive LoRA: unbounded, diverges when trained long."""

    def query(self, teacher: Teacher, state: State, condition: TextCondition) -> Query:
        """Nothing of the teacher."""
        return given(lambda: state.target)

    def __call__(self, evidence: Evidence) -> Tensor:
        """``L``."""
        return evidence.distance(evidence.forget_output)


@dataclass(frozen=True)
class Hinge(ForgetTerm):
    """The true loss up to ``(1 + margin)`` times the original model's on the same state; no gradient beyond."""

    margin: float

    def __call__(self, evidence: Evidence) -> Tensor:
        """``min(L, (1 + margin) L0)``."""
        limit = (1 + self.margin) * evidence.distance(evidence.teacher_output)
        return torch.minimum(evidence.distance(evidence.forget_output), limit)


@dataclass(frozen=True)
class Npo(ForgetTerm):
    """Negative preference optimisation (Zhang et al., 2024), with ``-(L - L0)`` for the log-likelihood ratio.

    The substitution is Diffusion-DPO's (Wallace et al. 2023). The gradient fades as ``L - L0`` grows past ``1 / beta``.
    """

    beta: float

    def __call__(self, evidence: Evidence) -> Tensor:
        """``2 / beta * log sigmoid(beta (L - L0))``, at most 0."""
        gap = evidence.distance(evidence.forget_output) - evidence.distance(evidence.teacher_output)
        return 2 / self.beta * torch.nn.functional.logsigmoid(self.beta * gap)


@dataclass(frozen=True)
class Redirect(ForgetTerm):
    """Minus the distance to :func:`~hmu.methods.teacher.erase_target`: says where to go, at most 0."""

    eta: float

    def query(self, teacher: Teacher, state: State, condition: TextCondition) -> Query:
        """The erased target."""
        return teacher.erased(state, condition, self.eta)

    def __call__(self, evidence: Evidence) -> Tensor:
        """``-d(out(x_t, c), out0(x_t, a) - eta (out0(x_t, c) - out0(x_t, empty)))``."""
        return -evidence.backbone.distance(evidence.forget_output, evidence.teacher_output, evidence.state)
