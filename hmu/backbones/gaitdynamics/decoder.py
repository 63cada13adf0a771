"""The denoising transformer of GaitDynamics: self-attention and feed-forward, both modulated by the timestep.

Source: GaitDynamics (Tan et al. 2025), after EDGE (Tseng et al. 2023). The published network also holds a
cross-attention block per layer that it never runs; it is left out here and filled in only where a file of the authors'
layout is written. Attention is made of plain linear layers, so that an adapter on any of them acts and learns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.gaitdynamics.options import DecoderOptions
from hmu.backbones.positions import Positions

MAX_POSITIONS = 500  # rows of the absolute table; the published size
BASE = 10000.0


class TimeSinusoids(nn.Module):
    """``[sin(t w), cos(t w)]``, ``w_k = exp(-k ln(10000) / (d / 2 - 1))``; ``(batch,)`` -> ``(batch, d)``.

    Angles are formed in double precision: in float32 the product alone costs 1e-5 of the answer at t near 1000.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        """Sinusoids of integer timesteps ``(batch,)``."""
        half = self.width // 2
        precise = torch.float32 if time.device.type == "mps" else torch.float64  # that device has no doubles
        rates = torch.exp(torch.arange(half, device=time.device, dtype=precise) * (-math.log(BASE) / max(half - 1, 1)))
        angles = time.to(precise)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1).to(dtype)


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021) over the whole width, before any projection; frequencies are in the file."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", BASE ** (-torch.arange(0, width, 2).float() / width))

    def forward(self, x: Tensor) -> Tensor:
        """Turn pairs ``(2j, 2j + 1)`` of ``x`` ``(batch, frames, width)`` by ``frame * freqs[j]``."""
        angle = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None] * self.freqs.to(x.dtype)
        cos, sin = angle.cos(), angle.sin()
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)


class SelfAttention(nn.Module):
    """Scaled dot-product attention between four plain linear layers."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, turned: Tensor, plain: Tensor, bias: Tensor | None) -> Tensor:
        """Queries and keys from ``turned``, values from ``plain``, both ``(batch, frames, width)``."""

        def split(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        heads = F.scaled_dot_product_attention(
            split(self.q_proj(turned)),
            split(self.k_proj(turned)),
            split(self.v_proj(plain)),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(heads.transpose(1, 2).reshape(plain.shape))


class Film(nn.Module):
    """Scale and shift of a residual branch from the timestep (Perez et al. 2018): ``[s, b] = Linear(mish(c))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Mish(), nn.Linear(width, 2 * width))

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, width)`` to scale and shift, each ``(batch, 1, width)``."""
        scale, shift = self.block(condition)[:, None].chunk(2, -1)
        return scale, shift


class Layer(nn.Module):
    """Pre-norm self-attention and feed-forward, each scaled and shifted by the timestep before it is added."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        width = options.latent_dim
        self.self_attn = SelfAttention(width, options.heads, options.dropout)
        self.linear1 = nn.Linear(width, options.ff_dim)
        self.linear2 = nn.Linear(options.ff_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.film1 = Film(width)
        self.film3 = Film(width)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, y: Tensor, condition: Tensor, rotary: Rotary | None, bias: Tensor | None) -> Tensor:
        """``y`` ``(batch, frames, width)`` under ``condition`` ``(batch, width)``."""
        normed = self.norm1(y)
        attended = self.self_attn(normed if rotary is None else rotary(normed), normed, bias)
        scale1, shift1 = self.film1(condition)
        y = y + (1 + scale1) * self.dropout(attended) + shift1
        scale3, shift3 = self.film3(condition)
        hidden = self.dropout(F.gelu(self.linear1(self.norm3(y))))
        return y + (1 + scale3) * self.dropout(self.linear2(hidden)) + shift3


class Stack(nn.Module):
    """The layers, under the name they have in the file."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        self.stack = nn.ModuleList(Layer(options) for _ in range(options.layers))


class Decoder(nn.Module):
    """Noisy states and timesteps to the model's answer.

    Parameter names are the checkpoints', but for ``self_attn.{q,k,v}_proj`` (there one ``in_proj``).
    """

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        self.options, width = options, options.latent_dim
        if options.rotary:
            self.rotary: Rotary | None = Rotary(width)
        else:
            self.rotary = None
            self.abs_pos_encoding = Positions(width, MAX_POSITIONS, options.dropout)
        self.time_mlp = nn.ModuleList([TimeSinusoids(width), nn.Linear(width, 4 * width)])
        self.to_time_cond = nn.ModuleList([nn.Linear(4 * width, width)])
        self.input_projection = nn.Linear(options.features, width)
        self.seqTransDecoder = Stack(options)
        self.final_layer = nn.Linear(width, options.features)

    def forward(self, x: Tensor, time: Tensor, valid: Tensor | None = None) -> Tensor:
        """The answer to noisy normalised states ``x``, both ``(batch, frames, features)``, at timesteps ``(batch,)``.

        ``valid``: True at frames that may be attended to ``(batch, frames)``; None = all.
        """
        condition = self.to_time_cond[0](F.mish(self.time_mlp[1](self.time_mlp[0](time, x.dtype))))
        projected = self.input_projection(x)
        y = projected if self.rotary is not None else self.abs_pos_encoding(projected)
        bias = None if valid is None or bool(valid.all()) else valid[:, None, None, :]
        for layer in self.seqTransDecoder.stack:
            y = layer(y, condition, self.rotary, bias)
        return self.final_layer(y)

    def linears(self, choice: str = "all") -> list[str]:
        """Linear layers that adapters go on.

        ``all``: projections in and out, all four of every attention, the feed-forwards. ``published``: the authors'
        list without their attention entries, which never acted (their attention bypasses the adapter).
        """
        ends = {"linear1", "linear2", "input_projection", "final_layer"}
        if choice == "all":
            ends |= {"q_proj", "k_proj", "v_proj", "out_proj"}
        return [n for n, m in self.named_modules() if isinstance(m, nn.Linear) and n.rpartition(".")[2] in ends]
