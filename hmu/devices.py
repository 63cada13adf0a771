"""Which device: the one that a user names, that a trainer uses, that a model is on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from hmu.errors import ConfigError, shown


def device_of(name: str) -> torch.device:
    """The device of ``device=<name>``; ``auto`` is the GPU if there is one.

    Raises:
        ConfigError: no device of torch's, or one that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        if name.partition(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
            reason = "no such kind of device"
        raise ConfigError(f"device={shown(name)} cannot be used here ({reason}): give auto, cpu or cuda") from None


def of_trainer(accelerator: str) -> torch.device:
    """The device that a Lightning trainer with this accelerator uses."""
    return device_of("cuda" if accelerator == "gpu" else accelerator)


def of_module(module: nn.Module) -> torch.device:
    """The device of a model's first parameter, else of its first buffer; the CPU where it has neither."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))


@contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """``module`` on ``device``; afterwards it is back where it was."""
    home = of_module(module)
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


def speed_of(device: torch.device) -> str:
    """What the speed of work depends on: which GPU, or on a CPU how many threads compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu x{torch.get_num_threads()} of {os.cpu_count()}" if device.type == "cpu" else device.type
