"""``train.py``: any stage of a backbone or an evaluator, into a model folder that later commands load."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from omegaconf import DictConfig
from torch import nn

from hmu.app import rank, run_folder
from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.choices import choice
from hmu.console import near
from hmu.data.batch import MotionBatch
from hmu.data.clips import MotionClips
from hmu.data.datamodule import MotionDataModule
from hmu.data.dataset import DatasetSource
from hmu.data.partition import Partition, partition_by_concept
from hmu.errors import CheckpointError, ConfigError
from hmu.phases import Phase
from hmu.progress import phase
from hmu.run import RunRecord
from hmu.training.pretraining import PretrainingModule
from hmu.training.recipe import Recipe
from hmu.training.steps import Steps
from hmu.workflows.common import check_device, logger_for, seed_everything, trainer_arguments
from hmu.workflows.outlook import announce_training

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Train the stages that ``config.stage`` names, in order; returns the run folder (model in ``model/``).

    Raises:
        ConfigError: unknown stage or partition, missing recipe.
        DataError: missing or broken data.
    """
    folder = run_folder(config)
    seed_everything(config)
    check_device(config.trainer.accelerator)
    kind = "evaluator" if config.evaluator else "backbone"
    recipes = instantiate(config.recipes.get(kind) or {}, _convert_="all")
    source: DatasetSource = instantiate(config.dataset)
    source.prepare()
    model = _model(config, kind, source)
    stages = _stages(config.stage, model, recipes)
    sides = training_sides(config, source)
    ids = None if sides is None else set(getattr(sides, config.partition))
    record = RunRecord(folder, config) if rank() == 0 else None
    if record is not None and sides is not None:
        sides.save(folder / "partition.json")
        counts = {"forget": len(sides.forget), "retain": len(sides.retain)}
        record.note(concept=sides.concept, partition={"side": config.partition, "hash": sides.hash, **counts})
    clips = len(source.clips("train", ids))
    length = {stage: recipes[stage].total_steps(clips) for stage in stages}
    announce_training(config, str(choice(kind, config) or kind), length, clips, source.name)
    for stage in stages:
        _train_stage(config, model, stage, recipes[stage], source, ids, folder)
        if record is not None:
            model.save_pretrained(folder / "model")  # type: ignore[operator]
            record.stage(f"train_{stage}")
    if record is not None:
        record.note(model="model", stages=stages, data=source.fingerprint, clips=clips)
        record.finish()
        log.info("trained %s; the model is in %s", ", ".join(stages), near(folder / "model"))
    return folder


def _model(config: DictConfig, kind: str, source: DatasetSource) -> nn.Module:
    checkpoint = None
    if config.init is not None:
        checkpoint = Path(config.init)
        checkpoint = checkpoint / "model" if (checkpoint / "model").is_dir() else checkpoint
        if not checkpoint.is_dir():
            raise CheckpointError(f"init: '{config.init}' is not a folder; give a run folder or a model folder")
    model: nn.Module = instantiate(config[kind], checkpoint=None if checkpoint is None else str(checkpoint))
    if checkpoint is None:
        captions = [caption for entry in source.clips("train").entries for caption in entry.captions]
        model.prepare(source.mean, source.std, captions)  # type: ignore[operator]
    return model


def _stages(stage: str, model: Any, recipes: Any) -> list[str]:
    stages = list(model.stages) if stage == "all" else [stage]
    unknown = [s for s in stages if s not in model.stages]
    if unknown:
        raise ConfigError(f"stage '{unknown[0]}' does not exist: {model.name} has {', '.join(model.stages)}, or all")
    missing = [s for s in stages if s not in recipes]
    if missing:
        raise ConfigError(f"no recipe for stage '{missing[0]}': add it to configs/recipe/<model>.yaml")
    return stages


def training_sides(config: DictConfig, source: DatasetSource) -> Partition | None:
    """The concept's partition, of which one side is for training and validation; None where all clips are.

    Raises:
        ConfigError: when ``partition`` is none of all, retain, forget.
        DataError: when a side is empty.
    """
    if config.partition == "all":
        return None
    if config.partition not in ("retain", "forget"):
        raise ConfigError(f"partition '{config.partition}': expected all, retain or forget")
    concept = instantiate(config.concept).for_dataset(source.name)
    return partition_by_concept(source, "train+val", concept)


def _train_stage(
    config: DictConfig,
    model: nn.Module,
    stage: str,
    recipe: Recipe,
    source: DatasetSource,
    ids: set[str] | None,
    folder: Path,
) -> None:
    data = MotionDataModule(
        source,
        batch_size=recipe.batch_size,
        window=recipe.window or model.stage_window(stage),  # type: ignore[operator]
        seed=int(config.seed),
        ids=ids,
    )
    clips = source.clips("train", ids)
    total = recipe.total_steps(len(clips))
    if isinstance(model, MotionBackbone):
        with phase(f"preparing {stage}", len(clips), "clips") as done:
            model.prepare_stage(stage, counted(in_order(clips, recipe.batch_size), done))
    module = PretrainingModule(model, stage, recipe, total, int(config.seed))
    saver = ModelCheckpoint(folder / "checkpoints", filename=stage, every_n_train_steps=recipe.validate_every)
    callbacks: list[Callback] = [saver]
    if recipe.ema is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    trainer = L.Trainer(
        **{
            **trainer_arguments(config),
            "max_steps": total,
            "val_check_interval": recipe.validate_every,
            "check_val_every_n_epoch": None,
            "gradient_clip_val": recipe.grad_clip,
            "enable_checkpointing": True,
            "callbacks": callbacks,
            "logger": logger_for(config, stage),
            "default_root_dir": str(folder),
        }
    )
    resume = _resume_from(config, stage)
    model.train()
    with phase(f"training {stage}", total, "steps") as steps:
        trainer.callbacks.append(Steps(steps))  # type: ignore[attr-defined]
        trainer.fit(module, datamodule=data, ckpt_path=resume)
    model.eval()
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise ConfigError(f"training of stage '{stage}' diverged (NaN weights): lower recipes.*.{stage}.lr")


def in_order(clips: MotionClips, batch_size: int) -> Iterator[MotionBatch]:
    """Every entry once, sorted by length so that little is padded."""
    order = np.argsort(clips.lengths, kind="stable")
    return (clips.batch(order[i : i + batch_size]) for i in range(0, len(order), batch_size))


def counted(batches: Iterator[MotionBatch], done: Phase) -> Iterator[MotionBatch]:
    """The same batches, each counted when the next is asked for."""
    for batch in batches:
        yield batch
        done.advance(len(batch))


def _resume_from(config: DictConfig, stage: str) -> str | None:
    if config.resume is None:
        return None
    path = Path(config.resume) / "checkpoints" / f"{stage}.ckpt"
    return str(path) if path.is_file() else None
