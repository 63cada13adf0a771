"""Skeleton-temporal denoiser of SALAD (Hong et al., CVPR 2025, section 3.2). Parameter names are the checkpoints'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hmu.backbones.positions import sinusoids
from hmu.backbones.salad.attention import Attention, key_bias
from hmu.backbones.salad.joint_maps import ACTIVATIONS
from hmu.backbones.salad.options import DenoiserOptions


@dataclass(frozen=True)
class Memory:
    """Keys and values of the prompts for every layer: computed once, read at every sampling step.

    Attributes:
        layers: per layer ``(keys, values)``, each ``(batch, heads, words, head width)``.
        bias: additive mask over the words ``(batch, 1, 1, words)``.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor


class Mlp(nn.Module):
    """A module whose ``layers`` is the given sequence (the published nesting)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the sequence to ``(…, in)``."""
        return self.layers(x)


class TimestepEmbedding(nn.Module):
    """Timestep to a vector: ``[cos | sin]`` features in float32, then Linear, SiLU, Linear."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """``(batch,)`` -> ``(batch, width)``."""
        half = self.features // 2
        rate = torch.exp(torch.arange(half, device=time.device, dtype=torch.float32) * (-math.log(10000.0) / half))
        angle = time[:, None].float() * rate
        return self.mlp(torch.cat([angle.cos(), angle.sin()], -1).to(cast(nn.Linear, self.mlp[0]).weight.dtype))


class Positions(nn.Module):
    """Fixed sinusoids over the flattened index ``frame * joints + joint``; the table is part of the checkpoints."""

    def __init__(self, width: int, positions: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(positions, width)[None])
        self.dropout = nn.Dropout(dropout)

    pe: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to ``(batch, frames, joints, width)``."""
        _, frames, joints, width = x.shape
        return self.dropout(x + self.pe[:, : frames * joints].view(1, frames, joints, width).to(x.dtype))


class Film(nn.Module):
    """``h (1 + scale) + shift`` with ``[scale | shift] = Linear(SiLU(time))`` (Perez et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        """``h`` ``(batch, frames, joints, width)``, ``time`` ``(batch or 1, width)``."""
        scale, shift = self.linear(time)[:, None, None, :].chunk(2, -1)
        return torch.addcmul(h + shift, h, scale)


class Block(nn.Module):
    """One layer: temporal, skeletal and cross-attention, feed-forward; each ``x + FiLM(sub(LayerNorm(x)))``.

    Tokens are ``(batch, frames, joints, width)``, the time's embedding ``(batch or 1, width)``.
    """

    def __init__(self, options: DenoiserOptions) -> None:
        super().__init__()
        width, heads = options.latent_dim, options.n_heads
        self.skel_attn, self.skel_norm = Attention(width, heads), nn.LayerNorm(width)
        self.temp_attn, self.temp_norm = Attention(width, heads), nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads)
        self.cross_src_norm, self.cross_tgt_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn_linear1 = nn.Linear(width, options.ff_dim)
        self.ffn_linear2 = nn.Linear(options.ff_dim, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.skel_film, self.temp_film = Film(width), Film(width)
        self.cross_film, self.ffn_film = Film(width), Film(width)
        self.dropout = nn.Dropout(options.dropout)
        self.activation = ACTIVATIONS[options.activation]()

    def memory(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the projected words ``(batch, words, width)``."""
        return self.cross_attn.memory(self.cross_tgt_norm(words))

    def attend_body(self, x: Tensor, time: Tensor, frame_bias: Tensor | None) -> Tensor:
        """Temporal, then skeletal attention, which read no text; ``x`` ``(batch, frames, joints, width)``."""
        h = self.temp_attn.temporal(self.temp_norm(x), frame_bias)
        x = x + self.temp_film(self.dropout(h), time)
        h = self.skel_attn.skeletal(self.skel_norm(x))
        return x + self.skel_film(self.dropout(h), time)

    def attend_text(self, x: Tensor, time: Tensor, memory: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """Cross-attention to the words, then the feed-forward; ``x`` ``(batch, frames, joints, width)``."""
        h = self.cross_attn.cross(self.cross_src_norm(x), memory, bias)
        x = x + self.cross_film(self.dropout(h), time)
        h = self.ffn_linear2(self.dropout(self.activation(self.ffn_linear1(self.ffn_norm(x)))))
        return x + self.ffn_film(self.dropout(h), time)


class SkipTransformer(nn.Module):
    """Input layers, a middle layer, output layers; skips are taken last in, first out."""

    def __init__(self, options: DenoiserOptions) -> None:
        super().__init__()
        half, width = (options.n_layers - 1) // 2, options.latent_dim
        self.input_blocks = nn.ModuleList(Block(options) for _ in range(half))
        self.middle_block = Block(options)
        self.output_blocks = nn.ModuleList(Block(options) for _ in range(half))
        self.skip_blocks = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))

    def blocks(self) -> list[Block]:
        """All layers in execution order."""
        return [*self.input_blocks, self.middle_block, *self.output_blocks]  # type: ignore[list-item]


def _repeat(times: int, x: Tensor, time: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rows of all three, ``times`` over; a time shared by all rows stays one row."""
    time = time if len(time) == 1 else time.repeat(times, 1)
    return x.repeat(times, 1, 1, 1), time, None if bias is None else bias.repeat(times, 1, 1, 1)


class Denoiser(nn.Module):
    """Predicts velocity, noise or clean latent of body-part tokens under a text."""

    def __init__(self, latent: int, text_width: int, options: DenoiserOptions) -> None:
        super().__init__()
        self.options = options
        width = options.latent_dim
        self.input_process = Mlp(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width))
        self.output_process = Mlp(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent))
        self.timestep_emb = TimestepEmbedding(width, options.time_features)
        self.word_emb = nn.Linear(text_width, width)
        self.pos_emb = Positions(width, options.max_positions, options.dropout)
        self.transformer = SkipTransformer(options)

    def attention_linears(self) -> list[str]:
        """Names of all query, key, value and output projections, in order of the modules (12 per layer)."""
        return [
            f"{name}.{linear}"
            for name, module in self.named_modules()
            if isinstance(module, Attention)
            for linear in ("Wq", "Wk", "Wv", "Wo")
        ]

    def groups(self) -> dict[str, list[str]]:
        """Parameter names by role: ``cross`` (cross-attention), ``cross_kv``, ``rest`` (all but cross), ``all``."""
        names = [name for name, _ in self.named_parameters()]
        cross = [name for name in names if ".cross_attn." in name]
        return {
            "cross": cross,
            "cross_kv": [name for name in cross if ".Wk." in name or ".Wv." in name],
            "rest": [name for name in names if name not in set(cross)],
            "all": names,
        }

    @torch.no_grad()
    def projection_inputs(self, words: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What every cross-attention's ``Wk`` and ``Wv`` read of prompts, ``(mask.sum(), width)`` by module name."""
        rows = self.word_emb(words[mask])
        return {
            f"{name}.cross_attn.{leaf}": block.cross_tgt_norm(rows)
            for name, block in self.named_modules()
            if isinstance(block, Block)
            for leaf in ("Wk", "Wv")
        }

    def remember(self, words: Tensor, mask: Tensor) -> Memory:
        """Keys and values of prompts ``(batch, words, text width)``; ``mask`` ``(batch, words)`` is True at tokens."""
        projected = self.word_emb(words)
        layers = tuple(block.memory(projected) for block in self.transformer.blocks())
        return Memory(layers, key_bias(mask, layers[0][0].dtype))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        words: Tensor | None = None,
        word_mask: Tensor | None = None,
        frame_mask: Tensor | None = None,
        *,
        memory: Memory | None = None,
    ) -> Tensor:
        """Answer for noisy latents.

        Args:
            x: ``(batch, frames, 7, latent)``. ``memory`` may hold several prompts per row (row-major blocks of
                ``batch``, as the guidance branches): rows are repeated where text first enters, and so is the answer.
            time: ``(batch,)``, or one timestep for the whole batch (0-d).
            words, word_mask: prompts, unless their ``memory`` (:meth:`remember`) is given.
            frame_mask: ``(batch, frames)``, True at valid latent frames; None = all. Masked frames are not zeroed.
        """
        if memory is None:
            if words is None or word_mask is None:
                raise TypeError("Denoiser.forward needs words and word_mask, or memory")
            memory = self.remember(words, word_mask)
        embedded, hidden = self.timestep_emb(time.reshape(-1)), self.input_process(x)
        frame_bias = None if frame_mask is None else key_bias(frame_mask, hidden.dtype)
        hidden, skips = self.pos_emb(hidden), list[Tensor]()
        depth = len(self.transformer.input_blocks)
        for index, block in enumerate(self.transformer.blocks()):
            if index > depth:
                hidden = self.transformer.skip_blocks[index - depth - 1](torch.cat([hidden, skips.pop()], -1))
            hidden = block.attend_body(hidden, embedded, frame_bias)
            if len(memory.bias) > len(hidden):  # until here all branches of a row are the same
                times = len(memory.bias) // len(hidden)
                hidden, embedded, frame_bias = _repeat(times, hidden, embedded, frame_bias)
            hidden = block.attend_text(hidden, embedded, memory.layers[index], memory.bias)
            if index < depth:
                skips.append(hidden)
        return self.output_process(hidden)
