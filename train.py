"""Pretrain any stage of a backbone, or an evaluator: ``python train.py backbone=salad stage=vae dataset=demo``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from hmu.app import main
from hmu.keys import Train


def train(config: DictConfig) -> Path:
    """Train the stages that ``config.stage`` names into a model folder that later commands load.

    Returns:
        the run folder; the model is in ``model/``.
    """
    from hmu.workflows.pretraining import Pretraining  # torch and all that is heavy: after the command line was checked

    job = Pretraining(config)  # data, model, recipes, one training for each stage: each built once
    job.claim()  # a run folder of its own
    job.check()  # whatever cannot work is refused here, in one line
    job.begin()  # run.json; what an interrupted run has finished; the plan, and how long it will take
    for training in job.trainings:
        job.train(training)  # to its last step; the model is saved after each
    job.finish()
    return job.folder


if __name__ == "__main__":
    main("train", train, Train)
