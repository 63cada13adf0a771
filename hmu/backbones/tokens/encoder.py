"""What the transformers over motion tokens are made of: post-norm blocks, sinusoid positions, input and output.

Names are the checkpoints', but for the attention's projections: the authors keep query, key and value in one fused
matrix, here they are three linear layers, which adapters can sit on; :func:`from_authors` takes the matrix apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hmu.backbones.tokens.options import TransformerOptions

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class Memory:
    """Keys and values of one attention, by place: ``(rows, heads, places, head width)`` each."""

    def __init__(self, rows: int, heads: int, places: int, width: int, like: Tensor) -> None:
        self.keys = like.new_zeros(rows, heads, places, width)
        self.values = like.new_zeros(rows, heads, places, width)

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values ``(rows, heads, new places, head width)`` of the places from ``start`` on."""
        stop = start + keys.shape[2]
        self.keys[:, :, start:stop] = keys
        self.values[:, :, start:stop] = values


class SelfAttention(nn.Module):
    """Multi-head self-attention over a sequence, or over new places of one whose earlier places are remembered.

    Attributes:
        names: of the four linear layers (all with bias): query, key, value, output.
        fused: whether the authors' files keep the first three in one matrix.
    """

    names: tuple[str, ...] = (*PROJECTIONS, "out_proj")
    fused = True

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        for name in self.names:
            setattr(self, name, nn.Linear(width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x``.

        Args:
            x: inputs ``(rows, places, width)``; with ``memory``, those of the places from ``start`` on.
            mask: True where a query may look, broadcastable to ``(rows, heads, places, seen places)``; None =
                everywhere.
            memory: keys and values so far, the new ones are written into it. ``mask`` says how many places are seen,
                without it those up to the last new one.
            start: first place.
        """
        *inputs, output = (getattr(self, name) for name in self.names)
        query, key, value = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in inputs)
        if memory is not None:
            memory.write(start, key, value)
            places = start + x.shape[1] if mask is None else mask.shape[-1]
            key, value = memory.keys[:, :, :places], memory.values[:, :, :places]
        drop = self.dropout if self.training else 0.0
        slow = x.device.type == "cpu" and query.requires_grad  # the fused kernel's backward, at a few dozen keys
        with sdpa_kernel(SDPBackend.MATH) if slow else nullcontext():
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=drop)
        return output(y.transpose(1, 2).flatten(2))


class PostNormBlock(nn.Module):
    """``x = norm(x + attention(x)); x = norm(x + feed-forward(x))`` with an exact GELU."""

    def __init__(self, sizes: TransformerOptions) -> None:
        super().__init__()
        width = sizes.latent_dim
        self.self_attn = SelfAttention(width, sizes.n_heads, sizes.dropout)
        self.linear1, self.linear2 = nn.Linear(width, sizes.ff_size), nn.Linear(sizes.ff_size, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x`` ``(rows, places, width)``; arguments of :meth:`SelfAttention.forward`."""
        x = self.norm1(x + self.dropout(self.self_attn(x, mask, memory, start)))
        h = self.linear2(self.dropout(F.gelu(self.linear1(x))))
        return self.norm2(x + self.dropout(h))


class Stack(nn.Module):
    """Blocks of one kind, without a final norm, under the name that the checkpoints have for their list."""

    def __init__(
        self, sizes: TransformerOptions, block: Callable[..., nn.Module] = PostNormBlock, name: str = "layers"
    ) -> None:
        super().__init__()
        self.list_name = name
        setattr(self, name, nn.ModuleList(block(sizes) for _ in range(sizes.n_layers)))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, memories: list[Memory] | None = None, start: int = 0
    ) -> Tensor:
        """Same shape as ``x`` ``(rows, places, width)``; as :meth:`SelfAttention.forward`, one memory per block."""
        for index, block in enumerate(getattr(self, self.list_name)):
            x = block(x, mask, None if memories is None else memories[index], start)
        return x


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
    """``x`` ``(batch, …)`` repeated until it has ``rows`` rows (guidance branches are blocks of the batch)."""
    return x if len(x) == rows else x.repeat(rows // len(x), *(1 for _ in x.shape[1:]))


def guidance_branches(text: Tensor, scale: float) -> Tensor:
    """Text vectors ``(rows, width)`` of a forward pass: ``text`` (scale 1), zeros (scale 0), or both, zeros first."""
    if scale == 1:
        return text
    empty = torch.zeros_like(text)
    return empty if scale == 0 else torch.cat([empty, text])


def combine_branches(x: Tensor, rows: int, scale: float) -> Tensor:
    """``u + scale (c - u)`` ``(rows, …)`` of the branches of :func:`guidance_branches` (Ho & Salimans 2022)."""
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
        if isinstance(part, SelfAttention) and part.fused:
            bound = math.sqrt(6 / (4 * part.width))  # of the fused (3 width, width) matrix
            for name in PROJECTIONS:
                nn.init.uniform_(getattr(part, name).weight, -bound, bound)


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names to ours: ``in_proj_weight`` ``(3 width, width)`` and its bias become three projections'."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        parent, _, leaf = name.rpartition(".in_proj_")
        if not parent:
            result[name] = value
            continue
        for projection, part in zip(PROJECTIONS, value.chunk(3), strict=True):
            result[f"{parent}.{projection}.{leaf}"] = part.clone()
    return result
