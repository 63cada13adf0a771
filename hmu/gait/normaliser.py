"""The normaliser of gait states: every column's range in the training data becomes [-10, 10]."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hmu.errors import ConfigError

LOW, HIGH = -10.0, 10.0
#: ranges below this are constant columns: their divisor becomes 1
CONSTANT = 10 * torch.finfo(torch.float32).eps


class MinMax(nn.Module):
    """``x * scale_ + min_`` and ``(x - min_) / scale_``, column by column; values outside the fitted range are kept.

    Attributes:
        scale_, min_, data_min_, data_max_, data_range_: float32 ``(columns,)``, under the published names.
        samples: how many frames the ranges come from.
    """

    scale_: Tensor
    min_: Tensor
    data_min_: Tensor
    data_max_: Tensor
    data_range_: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.samples = 0
        for name in ("data_min_", "data_max_", "data_range_", "scale_", "min_"):
            self.register_buffer(name, torch.zeros(columns))
        self.scale_ += 1

    def fit(self, batches: Iterable[Tensor]) -> MinMax:
        """Measure every column of ``(..., columns)`` tensors in real units; returns itself.

        Raises:
            ConfigError: without any frame.
        """
        flat = (batch.reshape(-1, batch.shape[-1]) for batch in batches)
        ranges = [(rows.amin(0), rows.amax(0), len(rows)) for rows in flat if len(rows)]
        if not ranges:
            raise ConfigError("a normaliser needs training windows, and there are none")
        low, high, frames = zip(*ranges, strict=True)
        return self.set_range(torch.stack(low).amin(0), torch.stack(high).amax(0), sum(frames))

    def set_range(self, low: Tensor, high: Tensor, samples: int = 0) -> MinMax:
        """Use columns that lie between ``low`` and ``high`` ``(columns,)``; returns itself.

        Raises:
            ConfigError: for a wrong shape, a value that is not finite, or ``high`` below ``low``.
        """
        low, high = (torch.as_tensor(value, dtype=torch.float32) for value in (low, high))
        good = low.shape == high.shape == self.min_.shape and bool((torch.isfinite(low) & torch.isfinite(high)).all())
        if not good or bool((high < low).any()):
            raise ConfigError(f"ranges of shape {tuple(low.shape)}: expected ({len(self.min_)},), finite, low <= high")
        span = high - low
        scale = (HIGH - LOW) / torch.where(span < CONSTANT, torch.ones_like(span), span)
        fitted = {"data_min_": low, "data_max_": high, "data_range_": span, "scale_": scale, "min_": LOW - low * scale}
        for name, value in fitted.items():
            getattr(self, name).copy_(value)
        self.samples = samples
        return self

    def normalise(self, x: Tensor) -> Tensor:
        """Real units to normalised ``(..., columns)``."""
        return x * self.scale_.to(x.dtype) + self.min_.to(x.dtype)

    def denormalise(self, x: Tensor) -> Tensor:
        """Normalised to real units ``(..., columns)``."""
        return (x - self.min_.to(x.dtype)) / self.scale_.to(x.dtype)
