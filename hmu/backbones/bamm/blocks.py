"""The two kinds of transformer block, over one attention that can remember what it has read.

Attention is four linear layers around scaled dot-product attention, so that adapters reach every projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class Attention(nn.Module):
    """Self-attention ``query``, ``key``, ``value``, ``proj`` (with bias); the dropout acts on weights and output."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, attend: Tensor | None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """``x`` ``(rows, places, width)``.

        Args:
            x: inputs; with ``memory``, those of the places from ``start`` on.
            attend: True where a query may look, broadcastable to ``(rows, 1, places, seen places)``; None = everywhere.
            memory: keys and values so far; the new ones are written into it. ``attend`` says how many places are seen,
                without it those up to the last new one.
            start: first place of ``x``.
        """
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        if memory is not None:
            memory.write(start, key, value)
            seen = start + x.shape[1] if attend is None else attend.shape[-1]
            key, value = memory.keys[:, :, :seen], memory.values[:, :, :seen]
        drop = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=attend, dropout_p=drop)
        return self.proj(out.transpose(1, 2).flatten(2))


class PostNormBlock(nn.Module):
    """Attention and feed-forward, each normalised after its sum (torch's encoder layer with an exact GELU)."""

    attention_name = "self_attn"

    def __init__(self, width: int, heads: int, ff: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ff)
        self.linear2 = nn.Linear(ff, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, attend: Tensor | None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Attention.forward`."""
        x = self.norm1(x + self.drop(self.self_attn(x, attend, memory, start)))
        return self.norm2(x + self.drop(self.linear2(self.drop(F.gelu(self.linear1(x))))))


class PreNormBlock(nn.Module):
    """Attention and feed-forward, each on a normalised input; nothing is normalised at the end (T2M-GPT)."""

    attention_name = "attn"

    def __init__(self, width: int, heads: int, ff: int, dropout: float) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(width, ff), nn.GELU(), nn.Linear(ff, width), nn.Dropout(dropout))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, attend: Tensor | None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Attention.forward`."""
        x = x + self.drop(self.attn(self.ln1(x), attend, memory, start))
        return x + self.mlp(self.ln2(x))


#: by the authors' option ``trans``: the name their checkpoints give the list, and the block
KINDS: dict[str, tuple[str, type[PostNormBlock] | type[PreNormBlock]]] = {
    "official": ("layers", PostNormBlock),
    "t2mgpt": ("blocks", PreNormBlock),
}


class Stack(nn.Module):
    """Blocks of one kind, under the name that the authors' checkpoints have for them."""

    def __init__(self, kind: str, layers: int, width: int, heads: int, ff: int, dropout: float) -> None:
        super().__init__()
        self.list_name, block = KINDS[kind]
        self.heads, self.width = heads, width
        setattr(self, self.list_name, nn.ModuleList(block(width, heads, ff, dropout) for _ in range(layers)))

    @property
    def members(self) -> nn.ModuleList:
        """The blocks in order."""
        return getattr(self, self.list_name)

    def memories(self, rows: int, places: int, like: Tensor) -> list[Memory]:
        """Empty memories for ``rows`` sequences of at most ``places``."""
        return [Memory(rows, self.heads, places, self.width // self.heads, like) for _ in self.members]

    def forward(self, x: Tensor, attend: Tensor | None, memories: list[Memory] | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``; arguments of :meth:`Attention.forward`, one memory per block."""
        for index, block in enumerate(self.members):
            x = block(x, attend, None if memories is None else memories[index], start)
        return x


def causal(places: int, device: torch.device) -> Tensor:
    """True where a row may look at a column: itself and what precedes it; ``(1, 1, places, places)``."""
    return torch.ones(places, places, dtype=torch.bool, device=device).tril()[None, None]
