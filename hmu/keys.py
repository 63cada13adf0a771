"""What the three scripts read at the top of their configurations; a tool declares its keys beside its own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hmu.values import Device, Node, Place, Run


class Train(Run):
    """``configs/train.yaml``."""

    evaluator: Node
    recipes: Node
    concept: Node
    trainer: Node
    logger: Node
    callbacks: Node
    subject: str
    without_evaluator: Node
    stage: str
    init: Place | None
    resume: Place | None
    partition: Literal["all", "retain", "forget"]


class Measured(Run):
    """What is read by both scripts that measure."""

    concept: Node
    evaluator: Node
    suite: Node
    logger: Node
    forget_file: Place | None
    retain_file: Place | None
    reference: Place | None
    trust: Place | Sequence[Place] | None


class Unlearn(Measured):
    """``configs/unlearn.yaml``."""

    method: Node
    refine: Node
    trainer: Node
    callbacks: Node
    evaluate: bool


class Evaluate(Measured):
    """``configs/evaluate.yaml``."""

    ckpt: Place
    scale: float
    device: Device
