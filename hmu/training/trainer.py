"""What every training hands to Lightning: arguments of its trainer, checked before any data is read, and AdamW."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from torch import nn

from hmu.checks import require
from hmu.errors import ConfigError, shown
from hmu.optimisation import Optimisation
from hmu.values import Count

_LENGTH = "the length is that of the method or the recipe: method.steps=, recipes.*.steps="
_CLIP = "gradients are clipped as the method or the recipe says: method.grad_clip=, recipes.*.grad_clip="
_VALIDATE = "give recipes.*.validate_every="
#: arguments that would contradict what is said elsewhere, and where
ELSEWHERE = dict.fromkeys(("max_steps", "min_steps", "max_epochs", "min_epochs", "max_time"), _LENGTH)
ELSEWHERE |= dict.fromkeys(("limit_train_batches", "overfit_batches", "fast_dev_run"), _LENGTH)
ELSEWHERE |= dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), _CLIP)
ELSEWHERE |= dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), _VALIDATE)
ELSEWHERE |= {
    "logger": "give logger=csv, tensorboard, wandb or none",
    "default_root_dir": "give hydra.run.dir=",
    "reload_dataloaders_every_n_epochs": "the data do not change while training",
    "barebones": "curves and checkpoints are part of a run",
}
#: half-precision weights and sharded models are not what edits and checkpoints are made of
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
#: in others the trained weights stay behind in a process that has ended, or are spread over several
STRATEGIES = ("auto", "single_device", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
_SWITCHES = ("enable_checkpointing", "enable_model_summary", "enable_progress_bar", "inference_mode")


def check_trainer(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that Lightning would refuse later, or that would be ignored or lose the result.

    Raises:
        ConfigError: naming the key, ``trainer.devices``.
    """
    for key, advice in ELSEWHERE.items():
        if arguments.get(key) is not None:
            raise ConfigError(f"trainer.{key}={shown(arguments[key])}: {advice}")
    _check_choices(arguments)
    _check_devices(arguments.get("devices", "auto"), str(arguments.get("accelerator", "auto")))
    require("trainer.accumulate_grad_batches", arguments.get("accumulate_grad_batches", 1), Count)
    require("trainer.log_every_n_steps", arguments.get("log_every_n_steps", 1), Count)
    for key in _SWITCHES:
        if not isinstance(arguments.get(key, True), (bool, type(None))):
            raise ConfigError(f"trainer.{key}={shown(arguments[key])}: expected true or false")
    problem = _problem(arguments)
    if problem is not None:
        near = {key: arguments[key] for key in ("accelerator",) if key in arguments}
        alone = (f".{key}" for key in arguments if _problem({**near, key: arguments[key]}) is not None)
        raise ConfigError(f"trainer{next(alone, '')}: {problem}")


def fit(trainer: L.Trainer, module: L.LightningModule, **options: Any) -> None:
    """``trainer.fit``; what callbacks have against the configuration is said in one line.

    Raises:
        ConfigError: that, or numbers that the optimiser cannot hold.
    """
    try:
        trainer.fit(module, **options)
    except (MisconfigurationException, RuntimeError) as error:
        text = " ".join(str(error).split())
        if "cannot be converted to type" in text and "overflow" in text:
            raise ConfigError(
                f"the optimiser cannot hold its numbers ({shown(text)}): lower lr or weight_decay"
            ) from error
        if isinstance(error, RuntimeError) and not text.startswith("Early stopping conditioned on metric"):
            raise
        raise ConfigError(f"trainer or callbacks: {shown(text, 240)}") from error


def adamw(parameters: Iterable[nn.Parameter], numbers: Optimisation, total: int) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: AdamW, and ``numbers.factor`` as its learning rate of ``total`` steps."""
    first, second = numbers.betas
    optimizer = torch.optim.AdamW(parameters, lr=numbers.lr, betas=(first, second), weight_decay=numbers.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: numbers.factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _check_choices(arguments: Mapping[str, Any]) -> None:
    accelerator, precision = arguments.get("accelerator", "auto"), arguments.get("precision", "32-true")
    known = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if accelerator not in known:
        raise ConfigError(f"trainer.accelerator={shown(accelerator)}: expected one of {', '.join(known)}")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator={accelerator}: there is no GPU here; choose trainer=cpu (or accelerator=auto)"
        )
    if str(precision) not in (*PRECISIONS, "32"):
        raise ConfigError(f"trainer.precision={shown(precision)}: expected one of {', '.join(PRECISIONS)}")
    strategy = arguments.get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise ConfigError(f"trainer.strategy={shown(strategy)}: expected one of {', '.join(STRATEGIES)}")


def _check_devices(devices: Any, accelerator: str) -> None:
    """On a CPU "devices" are processes, and there is no "all of them"; elsewhere Lightning knows what there is."""
    cuda = torch.cuda.is_available() and accelerator != "cpu"
    here = torch.cuda.device_count() if cuda else max(2, os.cpu_count() or 1)
    fine = f"a whole number from 1 to {here}"
    if isinstance(devices, bool) or devices is None or devices in (0, "0", ""):
        raise ConfigError(f"trainer.devices={'null' if devices is None else shown(devices)}: expected {fine}, or auto")
    if devices == "auto" or (cuda and not isinstance(devices, int)):
        return
    number = int(devices) if str(devices).lstrip("-").isdigit() else 0
    if cuda and number == -1:
        return
    if not 1 <= number <= here:
        why = " (a CPU has no devices to count: each is a process)" if not cuda else ""
        raise ConfigError(f"trainer.devices={shown(devices)}: expected {fine}, or auto{why}")


def _problem(arguments: Mapping[str, Any]) -> str | None:
    """What Lightning has against these arguments, in one line; None if it builds a trainer of them."""
    try:
        with _silence():
            L.Trainer(**{"logger": False, "enable_checkpointing": False, **arguments})
    except Exception as error:  # Lightning raises errors of many types for what is always the user's configuration
        return shown(" ".join(str(error).split()) or type(error).__name__, 220)
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """Lightning reports devices whenever a trainer is built; once, when it trains, is enough."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
