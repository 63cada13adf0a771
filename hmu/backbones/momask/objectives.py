"""Training objectives of the transformers: what is masked, what is asked, and how answers are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.momask.draws import Draws
from hmu.backbones.momask.masked import MaskedTransformer

RANDOM_SHARE, MASK_SHARE = 0.1, 0.88  # of the chosen: random ids; of the rest: the mask


def chosen_positions(time: Tensor, order: Tensor, valid: Tensor, variant: str = "default") -> Tensor:
    """Which positions a masked transformer is asked for ``(batch, tokens)``.

    ``max(1, round(cos(pi/2 t) n))`` of the ``n`` real positions, each equally likely. The authors (``upstream``) take
    ``n`` and the positions over the padded length and drop what falls on padding, so that short clips are masked by
    chance, sometimes not at all.

    Args:
        time: uniform numbers ``(batch,)``.
        order: uniform numbers ``(batch, tokens)`` whose order decides.
        valid: ``(batch, tokens)``, False at padding.
        variant: ``default`` or ``upstream``.
    """
    share = torch.cos(time * math.pi * 0.5)
    if variant == "upstream":
        count = (valid.shape[1] * share).round().clamp(min=1)
        return (order.argsort(dim=-1) < count[:, None]) & valid
    count = (valid.sum(1) * share).round().clamp(min=1)
    return order.masked_fill(~valid, 2.0).argsort(dim=-1).argsort(dim=-1) < count[:, None]


@dataclass(frozen=True)
class MaskDraws:
    """Which chosen positions get a random id, those ids, which others may get the mask: each ``(batch, tokens)``."""

    random: Tensor
    ids: Tensor
    mask: Tensor

    @classmethod
    def draw(cls, shape: tuple[int, int], codes: int, like: Tensor, draws: Draws) -> MaskDraws:
        """Fresh numbers."""
        random, mask = draws.uniform(shape, like) < RANDOM_SHARE, draws.uniform(shape, like) < MASK_SHARE
        return cls(random, draws.integers(codes, shape, like.device), mask)


def masked_inputs(net: MaskedTransformer, ids: Tensor, valid: Tensor, chosen: Tensor, draws: MaskDraws) -> Tensor:
    """The ids that the transformer sees: of the chosen 10 % are random, 88 % of the rest the mask, the rest true."""
    ids = torch.where(valid, ids, net.pad_id)
    random = chosen & draws.random
    ids = torch.where(random, draws.ids, ids)
    return torch.where(chosen & ~random & draws.mask, net.mask_id, ids)


def active_layers(uniform: Tensor, quantizers: int) -> Tensor:
    """Which residual layer each item is asked for, 1 … Q-1: ``round((1 - cos(pi/2 u)) (Q - 2)) + 1`` ``(batch,)``."""
    return ((1 - torch.cos(uniform * math.pi * 0.5)) * (quantizers - 2)).round().long() + 1


def known_layers(ids: Tensor, layer: Tensor) -> Tensor:
    """``ids`` ``(batch, tokens, layers)`` of the layers before ``layer`` ``(batch,)``; the others become -1."""
    before = torch.arange(ids.shape[-1], device=ids.device)[None, :] < layer[:, None]
    return torch.where(before[:, None, :], ids, -1)


def cross_entropy(logits: Tensor, answer: Tensor) -> Tensor:
    """``-log p(answer)`` per position, 0 where it is -1; ``logits`` ``(..., classes)``, ``answer`` ``(...)``."""
    flat = F.cross_entropy(logits.flatten(0, -2), answer.flatten(), ignore_index=-1, reduction="none")
    return flat.view(answer.shape)


def divergence(logits: Tensor, answer: Tensor) -> Tensor:
    """``KL(softmax answer || softmax logits)`` per position; both ``(..., classes)``, unnormalised."""
    wanted = answer.log_softmax(-1)
    return (wanted.exp() * (wanted - logits.log_softmax(-1))).sum(-1)
