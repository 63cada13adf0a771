"""Steps that several scripts share: seeding, data, partition, models."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from hmu import console
from hmu.backbones.base import MotionBackbone
from hmu.build import get_class, instantiate
from hmu.checkpoints.finite import refuse_nonfinite
from hmu.data.dataset import DatasetSource
from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.evaluators.base import Evaluator

log = logging.getLogger(__name__)


def seed_everything(config: DictConfig) -> None:
    """Seed Python, numpy and torch with ``seed``, and set the number of CPU threads if asked."""
    if config.threads:
        torch.set_num_threads(config.threads)
    console.adopt()  # Lightning has been imported by now
    L.seed_everything(config.seed, workers=True, verbose=False)


def settle_concept(config: DictConfig) -> DictConfig:
    """The configuration with the concept's overrides for the data set filled in; the command line still wins.

    What refers to the concept (a method's anchor) then follows the data set too.
    """
    wanted = str(config.dataset.name).lower().replace("-", "_")
    changes = [
        change
        for name, change in (OmegaConf.select(config, "concept.overrides") or {}).items()
        if str(name).lower().replace("-", "_") == wanted
    ]
    if not changes:
        return config
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    asked = {override.lstrip("+~").split("=")[0] for override in given}
    settled = config.copy()
    OmegaConf.set_struct(settled, False)
    settled.concept.overrides = {}
    for key, value in changes[0].items():
        if f"concept.{key}" not in asked:
            settled.concept[key] = value
    return settled


def build_backbone(config: DictConfig, **changes: Any) -> MotionBackbone:
    """Instantiate ``config.backbone`` (with ``changes``) and check that it is one."""
    backbone = instantiate(config.backbone, **changes)
    if not isinstance(backbone, MotionBackbone):
        raise ConfigError(f"backbone._target_ '{config.backbone._target_}' did not build a MotionBackbone")
    refuse_nonfinite(
        backbone.state_dict(), f"backbone '{changes.get('checkpoint', config.backbone.get('checkpoint'))}'"
    )
    return backbone


def build_evaluator(config: DictConfig, source: DatasetSource) -> Evaluator:
    """Instantiate ``config.evaluator``, ready to embed.

    A data set that names an evaluator of its own (``role: evaluator`` in its requirements) is never measured by the
    packaged one of the demo data: which one it is has to be said.

    Raises:
        ConfigError: that, ``evaluator=none``, an evaluator without weights, or one of another representation.
    """
    if not config.evaluator:  # evaluator=none
        raise ConfigError("no evaluator is chosen: give evaluator=demo, or evaluator=guo evaluator.checkpoint=<folder>")
    parts = [config.evaluator, *config.evaluator.values()]  # one evaluator, or two side by side
    nodes = [part for part in parts if OmegaConf.is_dict(part) and "checkpoint" in part]
    own = next((r for r in source.requirements if r.get("role") == "evaluator"), None)
    if own is not None and any(str(node.checkpoint).startswith("asset:demo/") for node in nodes):
        raise ConfigError(
            f"the packaged evaluator knows the demo data only, not '{source.name}': give evaluator=guo "
            f"evaluator.checkpoint=<folder> evaluator.glove=<folder> ({own['what']}: {own['who']}), or evaluate=false"
        )
    if any(node.checkpoint is None for node in nodes):
        raise ConfigError("evaluator.checkpoint is null: an untrained evaluator measures nothing; give its folder")
    evaluator: Evaluator = instantiate(config.evaluator).eval()
    refuse_nonfinite(evaluator.state_dict(), f"evaluator '{', '.join(str(node.checkpoint) for node in nodes)}'")
    both = [part for part in evaluator.modules() if isinstance(part, Evaluator)]  # of two side by side each reads
    read = {part.name: getattr(part, "features", source.features) for part in both}
    for name, columns in read.items():
        if columns != source.features:
            raise ConfigError(
                f"evaluator '{name}' reads {columns} columns but dataset '{source.name}' has {source.features}: "
                "choose evaluator.checkpoint=<folder of one that was trained on that representation>"
            )
    return evaluator


def check_match(backbone: MotionBackbone, features: int, dataset: str) -> None:
    """Refuse a data set whose motion representation the backbone does not generate."""
    if backbone.features != features:
        raise ConfigError(
            f"backbone generates {backbone.features} columns but dataset '{dataset}' has {features}: "
            "choose a backbone trained on that representation"
        )


def logger_for(config: DictConfig, stage: str | None = None) -> Any:
    """The configured Lightning logger; a missing package is named with the extra that installs it.

    ``stage``: of several trainings in one run, each keeps curves of its own (a CSV logger empties its folder).
    """
    per_stage = {"name": f"{config.logger.name}/{stage}"} if stage and config.logger.get("name") == "logs" else {}
    try:
        logger = instantiate(config.logger, **per_stage)
    except InstantiationException as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        raise ConfigError(
            f"logger={config.logger._target_}: {error.__cause__}; "
            "pip install wandb or 'hmu[tensorboard]', or choose logger=csv"
        ) from None
    if hasattr(type(logger), "log_report"):  # looked at elsewhere, without the run folder's config.yaml
        logger.log_hyperparams(as_plain(config))
    return logger


def log_report(config: DictConfig, results: Results, folder: Path) -> None:
    """Show an evaluation in the configured logger, if it can: table, animations and plots of the run ``folder``."""
    target = OmegaConf.select(config, "logger._target_")
    if target is not None and hasattr(get_class(target), "log_report"):
        logger_for(config).log_report(results, folder)


def leave_process_group() -> None:
    """End distributed training: what follows (saving, measuring) runs in the first process alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def as_plain(node: Any) -> Any:
    """A configuration node as plain Python."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def folder_size(folder: Path) -> int:
    """Bytes below ``folder``."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
