"""Sinusoidal positions (Vaswani et al. 2017), which several published networks share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(count: int, width: int) -> Tensor:
    """Table ``(count, width)``: sine in even, cosine in odd channels, base 10000; float32, as published."""
    place = torch.arange(count, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], -1).flatten(1)[:, :width]


class Positions(nn.Module):
    """:func:`sinusoids`, added; the table ``pe`` ``(count, 1, width)`` is part of the checkpoints."""

    pe: Tensor

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(count, width)[:, None])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to ``x`` ``(batch, places, width)``."""
        return self.dropout(x + self.pe[: x.shape[1], 0].to(x.dtype))
