"""What a composed configuration means for its data and for the run that it measures; the command line always wins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from hmu.build import get_class
from hmu.compose import option
from hmu.errors import CheckpointError, ConfigError
from hmu.overrides import keys, take_over, typed
from hmu.run import load_config
from hmu.workflows.sides import KEYS, lists_of

log = logging.getLogger(__name__)

#: what a run's own configuration decides unless the command line does
FROM_RUN = ("dataset", "backbone", "concept", "evaluator")


def settled(config: DictConfig) -> DictConfig:
    """``config`` with what the measured run, the concept and the data set decide.

    Raises:
        CheckpointError: ``ckpt`` does not exist.
        ConfigError: a suite or a key that does not belong to these data, or a key that the run's node does not take.
    """
    if "ckpt" in config:
        config = with_run(config)
    if "concept" in config:
        config = settle_concept(config)
    return settle_suite(config) if "suite" in config else config


def with_run(config: DictConfig) -> DictConfig:
    """Fill in what the measured run was made with, except where the command line says otherwise.

    Raises:
        CheckpointError: when ``ckpt`` does not exist.
        ConfigError: the command line gives a key that the run's node does not take.
    """
    path = Path(config.ckpt)
    if not path.exists():
        raise CheckpointError(f"ckpt: '{path}' does not exist; give a run folder, an edit folder or a checkpoint")
    home = path if (path / "config.yaml").is_file() else path.parent
    if not (home / "config.yaml").is_file():
        return config
    ran = load_config(home)
    return recorded_lists(take_over(config, ran, FROM_RUN, home), ran)


def recorded_lists(config: DictConfig, ran: DictConfig) -> DictConfig:
    """``config`` with the lists of the run that is measured, so that it is measured as it measured itself."""
    lists = lists_of(ran)
    if lists is None or lists_of(config) is not None:
        return config
    if not all(path.is_file() for path in lists):
        log.warning("%s and %s of that run are gone: its clips are divided by the concept's keywords", *lists)
        return config
    taken = config.copy()
    for key, path in zip(KEYS, lists, strict=True):
        OmegaConf.update(taken, key, str(path))
    return taken


def settle_concept(config: DictConfig) -> DictConfig:
    """The concept's overrides for the data set, filled in; what refers to the concept (an anchor) follows."""
    data = _alike(config.dataset.name)
    overrides = OmegaConf.select(config, "concept.overrides") or {}
    change = next((change for name, change in overrides.items() if _alike(name) == data), None)
    if change is None:
        return config
    given = keys(typed())
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    changed.concept.overrides = {}
    for key, value in change.items():
        if f"concept.{key}" not in given:
            changed.concept[key] = value
    return changed


def _alike(name: object) -> str:
    """Names of data sets are alike whatever their case, and with ``-`` for ``_``."""
    return str(name).lower().replace("-", "_")


def settle_suite(config: DictConfig, groups: Sequence[str] = ("suite", "evaluator")) -> DictConfig:
    """The suite and the evaluator that the data need (``measured_by``), unless the command line chooses others.

    Single keys of the command line (``suite.repeats=1``) are kept.

    Raises:
        ConfigError: a suite that asks by captions was chosen for data without, or a key that the suite does not have.
    """
    name = get_class(config.dataset._target_).measured_by  # type: ignore[attr-defined]
    if not name:
        return config
    given = keys(typed())
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    for group in groups:
        if group in given:
            continue
        changed[group] = option(group, name)
        for key in (key for key in given if key.startswith(f"{group}.")):
            if key.split(".")[1] not in changed[group]:
                raise ConfigError(f"{key}: {name} is measured with {group}={name}, which has no such key")
            OmegaConf.update(changed, key, OmegaConf.select(config, key), merge=False)
    if get_class(changed.suite._target_).captioned:  # type: ignore[attr-defined]
        raise ConfigError(f"the chosen suite asks by captions, and {name} has none: use suite={name}")
    return changed
