"""Multi-head attention of the SALAD denoiser: linear projections, fused attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW_KEYS = 32  # up to so many keys, on a CPU, writing attention out is 1.5 to 3 times faster than the fused kernel


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention written out; ``q k v`` ``(rows, heads, tokens, head width)``, ``bias`` additive."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()  # the products would otherwise gather them row by row
    logits = torch.matmul(q / math.sqrt(q.shape[-1]), k.transpose(-1, -2))
    return torch.matmul((logits if bias is None else logits + bias).softmax(-1), v)


def key_bias(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask ``(batch, 1, 1, keys)`` from ``valid`` ``(batch, keys)``, True at keys that may be read.

    So large that any logit disappears in rounding: a row with no valid key becomes uniform (the published code *sets*
    masked logits to one value), and a masked key beside a valid one gets exactly zero.
    """
    blocked = -1e4 if dtype == torch.float16 else -1e30
    bias = torch.zeros(valid.shape, dtype=dtype, device=valid.device).masked_fill_(~valid, blocked)
    return bias[:, None, None, :]


class Attention(nn.Module):
    """Projections ``Wq Wk Wv Wo`` (with bias) around scaled dot-product attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wq = nn.Linear(width, width)
        self.Wk = nn.Linear(width, width)
        self.Wv = nn.Linear(width, width)
        self.Wo = nn.Linear(width, width)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """``q`` ``(rows, groups * heads, queries, head width)``, ``bias`` additive."""
        if q.device.type == "cpu" and k.shape[-2] <= FEW_KEYS:
            return plain_attention(q, k, v, bias)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _within(self, x: Tensor, shape: tuple[int, ...], bias: Tensor | None) -> Tensor:
        """Self-attention of ``x`` seen as ``shape`` ``(rows, tokens, groups * heads, head width)``: a view, no copy."""
        q, k, v = (linear(x).view(shape).transpose(1, 2) for linear in (self.Wq, self.Wk, self.Wv))
        return self.Wo(self._attend(q, k, v, bias).transpose(1, 2).reshape(x.shape))

    def temporal(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Self-attention over frames, per joint; ``x`` ``(batch, frames, joints, width)``, ``bias`` over frames."""
        batch, frames, joints, width = x.shape
        return self._within(x, (batch, frames, joints * self.heads, width // self.heads), bias)

    def skeletal(self, x: Tensor) -> Tensor:
        """Self-attention over the joints of a frame; ``x`` ``(batch, frames, joints, width)``."""
        batch, frames, joints, width = x.shape
        return self._within(x, (batch * frames, joints, self.heads, width // self.heads), None)

    def memory(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of ``words`` ``(batch, words, width)``, each ``(batch, heads, words, head width)``."""
        shape = (*words.shape[:2], self.heads, -1)
        return self.Wk(words).view(shape).transpose(1, 2), self.Wv(words).view(shape).transpose(1, 2)

    def cross(self, x: Tensor, memory: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
        """Attention from all tokens to the words; ``x`` ``(batch, frames, joints, width)``, ``bias`` over words."""
        q = self.Wq(x).view(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)
        y = self._attend(q, *memory, bias)
        return self.Wo(y.transpose(1, 2).reshape(x.shape))
