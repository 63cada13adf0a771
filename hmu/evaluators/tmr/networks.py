"""Networks of TMR (Petrovich et al., ICCV 2023), named as in its checkpoints: ACTOR-style encoders and decoder.

Post-norm transformers over ``(batch, frames, width)``; what lies beyond a sequence's length changes nothing.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.positions import sinusoids

MAX_POSITIONS = 5000  # rows of the published table
_table = lru_cache(maxsize=16)(sinusoids)


def positions(count: int, width: int) -> Tensor:
    """Sinusoidal positions ``(count, width)``, computed in float32 whatever the network's precision, as published."""
    return _table(-(-count // 256) * 256, width)[:count]


class Encoder(nn.Module):
    """Learned tokens in front of the projected sequence; their outputs are the mean and log-variance of the latent.

    ``vae``: two tokens (mean, log-variance); False: one token, the latent itself.
    Source: TMR ``ACTORStyleEncoder``; the positions count the tokens too, so frame ``t`` has position ``t + 2``.
    """

    def __init__(
        self, features: int, width: int, ff: int, layers: int, heads: int, dropout: float, activation: str, vae: bool
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(features, width)
        self.tokens = nn.Parameter(torch.randn(2 if vae else 1, width))
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(width, heads, ff, dropout, activation, batch_first=True)
        self.seqTransEncoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """``(batch, length, features)``, True at real entries ``(batch, length)`` -> ``(batch, tokens, width)``."""
        count = len(self.tokens)
        x = torch.cat((self.tokens.expand(len(sequence), -1, -1), self.projection(sequence)), 1)
        x = self.dropout(x + positions(x.shape[1], x.shape[2]).to(x))
        beyond = F.pad(~mask, (count, 0), value=False)
        encoded: Tensor = self.seqTransEncoder(x, src_key_padding_mask=beyond)
        return encoded[:, :count]


class Decoder(nn.Module):
    """A motion of a given length from one latent (TMR ``ACTORStyleDecoder``)."""

    def __init__(
        self, features: int, width: int, ff: int, layers: int, heads: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerDecoderLayer(width, heads, ff, dropout, activation, batch_first=True)
        self.seqTransDecoder = nn.TransformerDecoder(layer, layers)
        self.final_layer = nn.Linear(width, features)

    def forward(self, latent: Tensor, mask: Tensor) -> Tensor:
        """Latents ``(batch, width)``, True at real frames ``(batch, frames)`` -> ``(batch, frames, features)``; zero at
        the others.
        """
        queries = positions(mask.shape[1], latent.shape[1]).to(latent).expand(len(latent), -1, -1)
        hidden = self.seqTransDecoder(self.dropout(queries), latent[:, None], tgt_key_padding_mask=~mask)
        return self.final_layer(hidden).masked_fill(~mask[..., None], 0)
