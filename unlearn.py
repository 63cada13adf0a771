"""Remove a concept from a motion generator: ``python unlearn.py method=esd concept=kick``."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from hmu.app import main
from hmu.values import Node, Place, Run


class Keys(Run):
    """What ``configs/unlearn.yaml`` holds."""

    concept: Node
    method: Node
    evaluator: Node
    suite: Node
    refine: Node
    trainer: Node
    logger: Node
    callbacks: Node
    forget_file: Place | None
    retain_file: Place | None
    reference: Place | None
    trust: Place | Sequence[Place] | None
    evaluate: bool


def unlearn(config: DictConfig) -> object:
    """Apply ``config.method`` for ``config.concept``, save the edit, measure it (heavy imports only here)."""
    from hmu.workflows.unlearn import unlearn as workflow

    return workflow(config)


if __name__ == "__main__":
    main("unlearn", unlearn, Keys)
