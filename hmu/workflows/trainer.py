"""What a job's configuration says about Lightning: arguments of the trainer, callbacks, loggers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.callbacks import Callback, ProgressBar
from omegaconf import DictConfig, OmegaConf

from hmu.build import get_class, instantiate
from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.training.callbacks import EarlyStopping
from hmu.training.trainer import check_trainer

log = logging.getLogger(__name__)


def trainer_arguments(config: DictConfig) -> dict[str, Any]:
    """The trainer's node as keyword arguments, with freshly built callbacks.

    (Hydra would turn a logger object handed to it into a configuration.)
    """
    plain: Any = OmegaConf.to_container(config.trainer, resolve=True)
    node = {str(key): value for key, value in plain.items() if key not in ("_target_", "callbacks")}
    callbacks = callbacks_for(config)
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)  # one that is asked for is shown
    return node | {"callbacks": callbacks} | ({"enable_progress_bar": True} if bar else {})


def callbacks_for(config: DictConfig) -> list[Callback]:
    """The callbacks of the group ``callbacks`` by name, and those of the list ``trainer.callbacks``."""
    named = OmegaConf.select(config, "callbacks") or {}
    listed = OmegaConf.select(config, "trainer.callbacks") or []
    nodes = {f"callbacks.{name}": node for name, node in named.items() if node is not None}
    nodes |= {f"trainer.callbacks.{number}": node for number, node in enumerate(listed)}
    return [_callback(key, node) for key, node in nodes.items()]


def _callback(key: str, node: Any) -> Callback:
    """What a node builds."""
    try:
        callback = instantiate(node) if OmegaConf.is_dict(node) else node
    except InstantiationException as error:
        if error.__cause__ is None:
            raise
        raise ConfigError(f"{key}: {' '.join(str(error.__cause__).split())}") from error
    if not isinstance(callback, Callback):
        kind = type(callback).__name__
        raise ConfigError(f"{key}: expected a Lightning callback, {{_target_: <class>, …}}; it built {kind}")
    return callback


def check_trainer_of(config: DictConfig) -> None:
    """Refuse trainer and callbacks that cannot work, before any data is read."""
    arguments = trainer_arguments(config)
    check_trainer(arguments)
    plain = [c for c in arguments["callbacks"] if isinstance(c, lightning_callbacks.EarlyStopping)]
    if config.job == "unlearn" and not all(isinstance(c, EarlyStopping) for c in plain):
        log.warning(
            "Lightning's EarlyStopping looks once an epoch, and an unlearning is one epoch: it will stop nothing; "
            "callbacks=early_stopping looks every few steps"
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
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))
    return logger


def log_report(config: DictConfig, results: Results, folder: Path) -> None:
    """Show an evaluation in the configured logger, if it can: table, animations and plots of the run ``folder``."""
    target = OmegaConf.select(config, "logger._target_")
    if target is not None and hasattr(get_class(target), "log_report"):
        logger_for(config).log_report(results, folder)
