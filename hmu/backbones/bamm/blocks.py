"""The two kinds of transformer block, over attention that can remember the places it has read.

The ``official`` block is MoMask's with another attention; its names and their translation are MoMask's too.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.tokens.encoder import PROJECTIONS, EncoderLayer, SelfAttention


class Memory:
    """Keys and values of one attention, by place: ``(rows, heads, places, head width)`` each."""

    def __init__(self, rows: int, heads: int, places: int, width: int, like: Tensor) -> None:
        self.keys = like.new_zeros(rows, heads, places, width)
        self.values = like.new_zeros(rows, heads, places, width)

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values of the places from ``start`` on."""
        stop = start + keys.shape[2]
        self.keys[:, :, start:stop] = keys
        self.values[:, :, start:stop] = values


class Remembering(nn.Module):
    """Self-attention over a sequence, or over new places of one whose earlier places are remembered.

    Attributes:
        names: of the four linear layers: query, key, value, output.
    """

    names: tuple[str, str, str, str]
    heads: int
    dropout: float

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """``x`` ``(rows, places, width)``.

        Args:
            x: inputs; with ``memory``, those of the places from ``start`` on.
            mask: True where a query may look, broadcastable to ``(rows, 1, places, seen places)``; None = everywhere.
            memory: keys and values so far, the new ones are written into it. ``mask`` says how many places are seen,
                without it those up to the last new one.
            start: first place of ``x``.
        """
        *inputs, output = (getattr(self, name) for name in self.names)
        query, key, value = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in inputs)
        if memory is not None:
            memory.write(start, key, value)
            seen = start + x.shape[1] if mask is None else mask.shape[-1]
            key, value = memory.keys[:, :, :seen], memory.values[:, :, :seen]
        drop = self.dropout if self.training else 0.0
        slow = x.device.type == "cpu" and query.requires_grad  # the fused kernel's backward, at a few dozen keys
        with sdpa_kernel(SDPBackend.MATH) if slow else nullcontext():
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=drop)
        return output(out.transpose(1, 2).flatten(2))


class FusedAttention(Remembering, SelfAttention):
    """Under MoMask's names, for checkpoints whose projections are fused."""

    names = (*PROJECTIONS, "out_proj")


class GptAttention(Remembering):
    """Under the names of the ``t2mgpt`` checkpoints, whose projections are not fused."""

    names = ("query", "key", "value", "proj")

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        for name in self.names:
            setattr(self, name, nn.Linear(width, width))


class PostNormBlock(EncoderLayer):
    """Attention and feed-forward, each normalised after its sum (torch's encoder layer with an exact GELU)."""

    def __init__(self, sizes: BidirectionalOptions) -> None:
        super().__init__(sizes)
        self.self_attn = FusedAttention(sizes.latent_dim, sizes.n_heads, sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Remembering.forward`."""
        x = self.norm1(x + self.dropout(self.self_attn(x, mask, memory, start)))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(x))))))


class PreNormBlock(nn.Module):
    """Attention and feed-forward, each on a normalised input; nothing is normalised at the end (T2M-GPT)."""

    def __init__(self, sizes: BidirectionalOptions) -> None:
        super().__init__()
        width, ff = sizes.latent_dim, sizes.ff_size
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = GptAttention(width, sizes.n_heads, sizes.dropout)
        self.mlp = nn.Sequential(nn.Linear(width, ff), nn.GELU(), nn.Linear(ff, width), nn.Dropout(sizes.dropout))
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Remembering.forward`."""
        x = x + self.dropout(self.attn(self.ln1(x), mask, memory, start))
        return x + self.mlp(self.ln2(x))


#: by the authors' option ``trans``: the name their checkpoints give the list, and the block
KINDS: dict[str, tuple[str, type[PostNormBlock] | type[PreNormBlock]]] = {
    "official": ("layers", PostNormBlock),
    "t2mgpt": ("blocks", PreNormBlock),
}


class Stack(nn.Module):
    """Blocks of one kind, under the name that the authors' checkpoints have for them."""

    def __init__(self, sizes: BidirectionalOptions) -> None:
        super().__init__()
        self.sizes = sizes
        self.list_name, block = KINDS[sizes.blocks]
        setattr(self, self.list_name, nn.ModuleList(block(sizes) for _ in range(sizes.n_layers)))

    @property
    def members(self) -> nn.ModuleList:
        """The blocks in order."""
        return getattr(self, self.list_name)

    def memories(self, rows: int, places: int, like: Tensor) -> list[Memory]:
        """Empty memories for ``rows`` sequences of at most ``places``."""
        heads, width = self.sizes.n_heads, self.sizes.latent_dim // self.sizes.n_heads
        return [Memory(rows, heads, places, width, like) for _ in self.members]

    def forward(
        self, x: Tensor, mask: Tensor | None = None, memories: list[Memory] | None = None, start: int = 0
    ) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Remembering.forward`, one memory per block."""
        for index, block in enumerate(self.members):
            x = block(x, mask, None if memories is None else memories[index], start)
        return x


def causal(places: int, device: torch.device) -> Tensor:
    """True where a row may look at a column: itself and what precedes it; ``(1, 1, places, places)``."""
    return torch.ones(places, places, dtype=torch.bool, device=device).tril()[None, None]
