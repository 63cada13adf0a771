"""The length estimator: how many tokens a motion takes, from its text (MoMask; Guo et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmu.backbones.draws import Draws, gumbel
from hmu.backbones.momask.options import LengthOptions
from hmu.backbones.tokens.encoder import initialise

SLOPE = 0.2


class LengthEstimator(nn.Module):
    """Text vector to a distribution over numbers of tokens (class = number)."""

    def __init__(self, text_width: int, options: LengthOptions) -> None:
        super().__init__()
        self.options = options
        first, second, third = options.hidden
        self.output = nn.Sequential(
            nn.Linear(text_width, first), nn.LayerNorm(first), nn.LeakyReLU(SLOPE), nn.Dropout(options.dropout),
            nn.Linear(first, second), nn.LayerNorm(second), nn.LeakyReLU(SLOPE), nn.Dropout(options.dropout),
            nn.Linear(second, third), nn.LayerNorm(third), nn.LeakyReLU(SLOPE),
            nn.Linear(third, options.classes),
        )  # fmt: skip
        initialise(self)

    def forward(self, text: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of text vectors ``(batch, text width)``."""
        return self.output(text)

    @torch.no_grad()
    def draw(
        self, text: Tensor, smallest: int, largest: int, generator: torch.Generator | None = None, greedy: bool = False
    ) -> Tensor:
        """Numbers of tokens ``(batch,)`` between ``smallest`` and ``largest``, drawn or the most likely.

        The authors draw from all classes, which can give a motion without a single token.
        """
        logits = self(text)[:, smallest : largest + 1]
        noise = 0.0 if greedy else gumbel(Draws(generator).uniform(tuple(logits.shape), logits))
        return (logits + noise).argmax(1) + smallest
