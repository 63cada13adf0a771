"""Pretrain any stage of a backbone, or an evaluator: ``python train.py backbone=salad stage=vae dataset=demo``."""

from __future__ import annotations

from typing import Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.values import Node, Place, Run


class Keys(Run):
    """What ``configs/train.yaml`` holds."""

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


def train(config: DictConfig) -> object:
    """Train ``config.stage`` and write a model folder that later commands load (heavy imports only here)."""
    from hmu.workflows.train import train as workflow

    return workflow(config)


if __name__ == "__main__":
    main("train", train, Keys)
