"""``train.py``: any stage of a backbone or an evaluator, into a model folder that later commands load."""

from __future__ import annotations

import logging
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from torch import nn

from hmu.app import rank, run_folder
from hmu.build import get_object, instantiate
from hmu.checkpoints.finite import refuse_nonfinite
from hmu.choices import choice
from hmu.console import near
from hmu.data.dataset import DatasetSource
from hmu.data.divide import Partition, partition_by_concept
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.run import RunRecord
from hmu.training.recipe import Recipe
from hmu.workflows.common import seed_everything
from hmu.workflows.outlook import announce_training
from hmu.workflows.resume import Interrupted, check_data, interrupted, take_over
from hmu.workflows.stage import Training
from hmu.workflows.trainer import check_job

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Train the stages that ``config.stage`` names, in order; returns the run folder (model in ``model/``).

    Raises:
        ConfigError: unknown stage or partition, missing recipe, a number out of range, a training that diverges.
        CheckpointError: ``init`` or ``resume`` cannot be used.
        DataError: missing or broken data.
    """
    folder = run_folder(config)
    seed_everything(config)
    check_job(config)
    kind = "evaluator" if config.evaluator else "backbone"
    recipes = _recipes(config, kind)
    _stages(config.stage, stages_of(config[kind]), recipes)
    before = interrupted(config)
    _check_init(config)
    source: DatasetSource = instantiate(config.dataset)
    source.prepare()
    if before is not None:
        check_data(before, source.fingerprint, source.name)
    model = _model(config, kind, source, before)
    stages = _stages(config.stage, model.stages, recipes)  # type: ignore[arg-type]
    sides = training_sides(config, source)
    ids = None if sides is None else set(getattr(sides, config.partition))
    trainings = [Training(config, model, stage, recipes[stage], source, ids, kind) for stage in stages]
    record = RunRecord(folder, config) if rank() == 0 else None
    if record is not None:
        record.note(data=source.fingerprint)
        if before is not None:
            take_over(before, folder)
            record.data["timings"].update(before.timings)
            record.note(resumed=str(before.folder))
    if record is not None and sides is not None:
        sides.save(folder / "partition.json")
        counts = {"forget": len(sides.forget), "retain": len(sides.retain)}
        record.note(concept=sides.concept, partition={"side": config.partition, "hash": sides.hash, **counts})
    clips = len(source.clips("train", ids))
    length = {training.stage: training.total for training in trainings}
    announce_training(config, str(choice(kind, config) or kind), length, clips, source.name)
    steps = {}
    for training in trainings:
        stage = training.stage
        if before is not None and before.finished(stage):
            log.info("stage '%s' was finished in %s", stage, before.folder)
            continue
        seed_everything(config)  # stages one by one, each with init=, are the same as all of them in one command
        steps[stage] = training.run(folder, None if before is None else before.checkpoint(stage))
        if record is not None:
            model.save_pretrained(folder / "model")  # type: ignore[operator]
            record.note(steps=steps)
            record.stage(f"train_{stage}")
    if record is not None:
        record.note(model="model", stages=stages, clips=clips)
        record.finish()
        log.info("trained %s; the model is in %s", ", ".join(stages), near(folder / "model"))
    return folder


def _recipes(config: DictConfig, kind: str) -> dict[str, Recipe]:
    """The recipes by stage; what is wrong with one is said with the key that the user gave."""
    found = {}
    for stage, node in (config.recipes.get(kind) or {}).items():
        try:
            found[str(stage)] = instantiate(node, _convert_="all")
        except InstantiationException as error:
            if not isinstance(error.__cause__, ConfigError):
                raise
            told = str(error.__cause__).replace("recipe.", f"recipes.{kind}.{stage}.")
            raise ConfigError(told) from error
    return found


def _check_init(config: DictConfig) -> Path | None:
    """The model folder that ``init`` names; None without one."""
    if config.init is None:
        return None
    folder = Path(str(config.init))
    folder = folder / "model" if (folder / "model").is_dir() else folder
    if not folder.is_dir():
        raise CheckpointError(f"init: '{config.init}' is not a folder; give a run folder or a model folder")
    return folder


def _check_unread(key: str) -> None:
    """Refuse weights typed where training does not look for them."""
    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    for word in typed:
        name, _, value = word.lstrip("+~").partition("=")
        if name == key and value != "null":
            raise ConfigError(f"{shown(word)}: train.py begins with fresh weights; init=<folder> starts from others")


def _model(config: DictConfig, kind: str, source: DatasetSource, before: Interrupted | None) -> nn.Module:
    _check_unread(f"{kind}.checkpoint")
    checkpoint = _check_init(config)
    if before is not None and before.model is not None:
        checkpoint = before.model
    model: nn.Module = instantiate(config[kind], checkpoint=None if checkpoint is None else str(checkpoint))
    refuse_nonfinite(model.state_dict(), str(checkpoint))
    if checkpoint is None:
        captions = [caption for entry in source.clips("train").entries for caption in entry.captions]
        model.prepare(source.mean, source.std, captions)  # type: ignore[operator]
    return model


def stages_of(node: DictConfig) -> tuple[str, ...]:
    """The stages of what a configuration builds, by its class; empty if that cannot be told without building it."""
    thing: Any = get_object(str(node.get("_target_")))
    kind = thing if isinstance(thing, type) else typing.get_type_hints(thing).get("return")
    return tuple(getattr(kind, "stages", ()))


def _stages(stage: str, known: Sequence[str], recipes: Mapping[str, Recipe]) -> list[str]:
    if not known:
        return []
    stages = list(known) if stage == "all" else [stage]
    unknown = [s for s in stages if s not in known]
    if unknown:
        raise ConfigError(f"stage '{shown(unknown[0])}' does not exist: there are {', '.join(known)}, or all")
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
