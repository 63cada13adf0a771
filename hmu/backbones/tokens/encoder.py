"""What the transformers of MoMask (and BAMM) are made of: a post-norm encoder, sinusoid positions, input and output.

Names are the checkpoints', but for the attention's projections: the authors keep query, key and value in one fused
matrix, here they are three linear layers, which adapters can sit on. :func:`to_authors` and :func:`from_authors`
translate state dicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class EncoderSizes(Protocol):
    """The numbers of an encoder."""

    @property
    def latent_dim(self) -> int:
        """Width."""

    @property
    def n_heads(self) -> int:
        """Attention heads."""

    @property
    def n_layers(self) -> int:
        """Layers."""

    @property
    def ff_size(self) -> int:
        """Width of the feed-forward."""

    @property
    def dropout(self) -> float:
        """Dropout."""


class SelfAttention(nn.Module):
    """Multi-head self-attention with separate projections (all with bias)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in PROJECTIONS)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(batch, tokens, width)``; ``mask`` broadcasts to ``(batch, heads, tokens, tokens)``, True = read."""
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (getattr(self, name)(x).view(shape).transpose(1, 2) for name in PROJECTIONS)
        drop = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and q.requires_grad:  # the fused kernel's backward is slow at a few dozen keys
            with sdpa_kernel(SDPBackend.MATH):
                y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        return self.out_proj(y.transpose(1, 2).reshape(x.shape))


class EncoderLayer(nn.Module):
    """``x = norm(x + attention(x)); x = norm(x + feed-forward(x))`` with an exact GELU."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        width = sizes.latent_dim
        self.self_attn = SelfAttention(width, sizes.n_heads, sizes.dropout)
        self.linear1, self.linear2 = nn.Linear(width, sizes.ff_size), nn.Linear(sizes.ff_size, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Same shape in and out."""
        x = self.norm1(x + self.dropout(self.self_attn(x, mask)))
        h = self.linear2(self.dropout(F.gelu(self.linear1(x))))
        return self.norm2(x + self.dropout(h))


class PostNormEncoder(nn.Module):
    """A stack of layers, without a final norm."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.n_layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(batch, tokens, width)``; ``mask`` as in :class:`SelfAttention`."""
        for layer in self.layers:
            x = layer(x, mask)
        return x


class Positions(nn.Module):
    """Sinusoids, sine in even and cosine in odd channels; the table is part of the checkpoints."""

    pe: Tensor

    def __init__(self, width: int, positions: int, dropout: float) -> None:
        super().__init__()
        place = torch.arange(positions, dtype=torch.float32)[:, None]
        rate = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
        table = torch.stack([torch.sin(place * rate), torch.cos(place * rate)], -1).flatten(1)
        self.register_buffer("pe", table[:, None])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to ``x`` ``(batch, tokens, width)``."""
        return self.dropout(x + self.pe[: x.shape[1], 0].to(x.dtype))


class InputProcess(nn.Module):
    """Code width to transformer width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.poseEmbedding = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., width)``."""
        return self.poseEmbedding(x)


class OutputProcess(nn.Module):
    """Linear, GELU, layer norm, linear; the last one apart, so that guidance can act in front of it."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.poseFinal = nn.Linear(width, outputs)

    def features(self, x: Tensor) -> Tensor:
        """What enters :attr:`poseFinal`, same shape as ``x`` ``(..., width)``."""
        return self.LayerNorm(F.gelu(self.dense(x)))


def key_mask(valid: Tensor | None, prefix: int) -> Tensor | None:
    """Attention mask ``(batch, 1, 1, prefix + tokens)`` of ``valid`` ``(batch, tokens)``; the prefix is always read."""
    if valid is None or bool(valid.all()):
        return None
    return F.pad(valid, (prefix, 0), value=True)[:, None, None, :]


def repeat_rows(x: Tensor, rows: int) -> Tensor:
    """``x`` repeated along the batch until it has ``rows`` rows (guidance branches are blocks of the batch)."""
    return x if len(x) == rows else x.repeat(rows // len(x), *(1 for _ in x.shape[1:]))


def guidance_branches(text: Tensor, scale: float) -> Tensor:
    """Text vectors of one forward pass: ``text`` (scale 1), zeros (scale 0), or both, the zeros first."""
    if scale == 1:
        return text
    empty = torch.zeros_like(text)
    return empty if scale == 0 else torch.cat([empty, text])


def combine_branches(x: Tensor, rows: int, scale: float) -> Tensor:
    """``u + scale (c - u)`` of the branches that :func:`guidance_branches` made (Ho & Salimans 2022)."""
    if len(x) == rows:
        return x
    unconditional, conditional = x.chunk(2)
    return unconditional + scale * (conditional - unconditional)


def initialise(module: nn.Module) -> None:
    """The authors' initial weights: normal with deviation 0.02, attention inputs Xavier-uniform, biases zero."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, SelfAttention):
            bound = math.sqrt(6 / (4 * part.out_proj.in_features))  # of the fused (3 width, width) matrix
            for name in PROJECTIONS:
                nn.init.uniform_(getattr(part, name).weight, -bound, bound)


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names to the authors': the three projections become ``in_proj_weight`` and ``in_proj_bias``."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, _, leaf = name.rpartition(".")
        parent, _, projection = stem.rpartition(".")
        if projection not in PROJECTIONS:
            result[name] = value
        elif projection == PROJECTIONS[0]:
            result[f"{parent}.in_proj_{leaf}"] = torch.cat([state[f"{parent}.{p}.{leaf}"] for p in PROJECTIONS])
    return result


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names to ours, the inverse of :func:`to_authors`."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        parent, _, leaf = name.rpartition(".in_proj_")
        if not parent:
            result[name] = value
            continue
        for projection, part in zip(PROJECTIONS, value.chunk(3), strict=True):
            result[f"{parent}.{projection}.{leaf}"] = part.clone()
    return result
