"""One stage of a training: what ``train.py`` does with it, from its data to its weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import EMAWeightAveraging
from omegaconf import DictConfig

from hmu.backbones.trainable import Trainable
from hmu.checkpoints.safe import first_nonfinite
from hmu.data.batch import MotionBatch
from hmu.data.clips import MotionClips
from hmu.data.datamodule import MotionDataModule
from hmu.data.dataset import DatasetSource
from hmu.phases import Phase
from hmu.progress import phase
from hmu.training.batches import check_batch
from hmu.training.callbacks import Steps
from hmu.training.divergence import Diverged
from hmu.training.pretraining import PretrainingModule
from hmu.training.recipe import Recipe
from hmu.training.resumable import SUFFIX, KeepLatest, WholeFiles
from hmu.training.trainer import fit
from hmu.workflows.resume import check_state
from hmu.workflows.trainer import logger_for, trainer_arguments

log = logging.getLogger(__name__)


@dataclass
class Training:
    """One stage, ready to be trained; a batch that is far larger than the data is refused.

    ``ids``: which clips (None = all); ``kind``: ``backbone`` or ``evaluator``, for messages.
    """

    config: DictConfig
    model: Trainable
    stage: str
    recipe: Recipe
    source: DatasetSource
    ids: set[str] | None
    kind: str

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.where = f"recipes.{self.kind}.{self.stage}"
        self.clips = self.source.clips("train", self.ids)
        self.total = recipe.total_steps(len(self.clips))
        self.data = MotionDataModule(
            self.source,
            batch_size=recipe.batch_size,
            window=recipe.window or self.model.stage_window(self.stage),
            seed=int(self.config.seed),
            ids=self.ids,
            batches=self.total * int(self.config.trainer.get("accumulate_grad_batches", 1)),
        )
        check_batch(f"{self.where}.batch_size", recipe.batch_size, len(self.data.train_sampler().items))

    def run(self, folder: Path, checkpoint: Path | None) -> int:
        """Train, from ``checkpoint`` on if there is one; returns the steps that the weights have seen."""
        model, stage, recipe, seed = self.model, self.stage, self.recipe, int(self.config.seed)
        with phase(f"preparing {stage}", len(self.clips), "clips") as done:
            model.prepare_stage(stage, _in_order(self.clips, recipe.batch_size, done))
        captions = list(dict.fromkeys(caption.text for own in self.clips.captions for caption in own))
        module = PretrainingModule(model, stage, recipe, self.total, seed, self.where, captions)
        if checkpoint is not None:
            log.info("stage '%s' goes on at step %d", stage, check_state(checkpoint, module, self.total))
        trainer = L.Trainer(**self._arguments(folder))
        model.train()
        with phase(f"training {stage}", self.total, "steps") as steps:
            trainer.callbacks.append(Steps(steps))  # type: ignore[attr-defined]
            fit(trainer, module, datamodule=self.data, ckpt_path=None if checkpoint is None else str(checkpoint))
        module.check_losses()
        model.eval()
        bad = first_nonfinite(model.state_dict())
        if bad is not None:
            raise Diverged(f"stage '{stage}', the weight '{bad}'", trainer.global_step, f"{self.where}.lr", recipe.lr)
        return trainer.global_step

    def _arguments(self, folder: Path) -> dict[str, Any]:
        recipe, given = self.recipe, trainer_arguments(self.config)
        average = [] if recipe.ema is None else [EMAWeightAveraging(decay=recipe.ema)]
        saver = KeepLatest(folder / "checkpoints" / f"{self.stage}{SUFFIX}", recipe.validate_every)
        return {
            **given,
            "max_steps": self.total,
            "max_epochs": 1,
            "val_check_interval": recipe.validate_every,
            "check_val_every_n_epoch": None,
            "gradient_clip_val": recipe.grad_clip,
            "enable_checkpointing": True,
            "callbacks": [*average, *given["callbacks"], saver],
            "plugins": [*(given.get("plugins") or []), WholeFiles()],
            "logger": logger_for(self.config, self.stage),
            "default_root_dir": str(folder),
        }


def _in_order(clips: MotionClips, batch_size: int, done: Phase) -> Iterator[MotionBatch]:
    """Every entry once, sorted by length so that little is padded; a batch counts when the next is asked for."""
    order = np.argsort(clips.lengths, kind="stable")
    for begin in range(0, len(order), batch_size):
        batch = clips.batch(order[begin : begin + batch_size])
        yield batch
        done.advance(len(batch))
