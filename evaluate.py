"""Measure a run, an edit, or an authors' checkpoint: ``python evaluate.py ckpt=outputs/…``."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from hmu.app import main
from hmu.values import Device, Node, Place, Run


class Keys(Run):
    """What ``configs/evaluate.yaml`` holds."""

    concept: Node
    evaluator: Node
    suite: Node
    logger: Node
    ckpt: Place
    scale: float
    device: Device
    forget_file: Place | None
    retain_file: Place | None
    reference: Place | None
    trust: Place | Sequence[Place] | None


def evaluate(config: DictConfig) -> object:
    """Compare the model behind ``config.ckpt`` with its base (heavy imports only here)."""
    from hmu.workflows.evaluate import evaluate as workflow

    return workflow(config)


if __name__ == "__main__":
    main("evaluate", evaluate, Keys)
