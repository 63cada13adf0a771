"""Trainings that diverge: found at the first step whose loss is no number, said in one line, never written."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.errors import ConfigError

#: steps between two looks at what the device has found; a look waits for the device
LOOK = 10


class Diverged(ConfigError):
    """A loss or a weight is no longer finite; the line says since when, and which key to change."""

    def __init__(self, what: str, step: int, key: str, value: float) -> None:
        super().__init__(
            f"the training diverged: {what} is not finite at step {step}, it was not saved; lower {key} (now {value:g})"
        )


class LossWatch:
    """The first step whose loss was not finite, noted where the loss is computed, so that no step waits for it."""

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def see(self, loss: Tensor, step: int) -> None:
        """Note the loss (a scalar) of ``step``."""
        bad = torch.where(torch.isfinite(loss.detach()), torch.inf, float(step)).float()
        self._first = bad if self._first is None else torch.minimum(self._first, bad)

    @property
    def first(self) -> Tensor:
        """The first bad step as a scalar tensor on the losses' device, infinite where there is none."""
        return torch.tensor(torch.inf) if self._first is None else self._first
