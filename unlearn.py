"""Remove a concept from a motion generator: ``python unlearn.py method=esd concept=kick``."""

from __future__ import annotations

from omegaconf import DictConfig

from hmu.app import main


def unlearn(config: DictConfig) -> object:
    """Apply ``config.method`` for ``config.concept``, save the edit, measure it (heavy imports only here)."""
    from hmu.workflows.unlearn import unlearn as workflow

    return workflow(config)


if __name__ == "__main__":
    main("unlearn", unlearn)
