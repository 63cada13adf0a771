"""Pretrain any stage of a backbone, or an evaluator: ``python train.py backbone=salad stage=vae dataset=demo``."""

from __future__ import annotations

from omegaconf import DictConfig

from hmu.app import main


def train(config: DictConfig) -> object:
    """Train ``config.stage`` and write a model folder that later commands load (heavy imports only here)."""
    from hmu.workflows.train import train as workflow

    return workflow(config)


if __name__ == "__main__":
    main("train", train)
