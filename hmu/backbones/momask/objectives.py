"""What MoMask's masked transformer is asked in training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.draws import Draws
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
        """Fresh numbers of ``shape`` (batch, tokens), on ``like``'s device."""
        random, mask = draws.uniform(shape, like) < RANDOM_SHARE, draws.uniform(shape, like) < MASK_SHARE
        return cls(random, draws.integers(codes, shape, like.device), mask)


def masked_inputs(net: MaskedTransformer, ids: Tensor, valid: Tensor, chosen: Tensor, draws: MaskDraws) -> Tensor:
    """The ids ``(batch, tokens)`` that the transformer sees: 10 % of the chosen are random, 88 % of the rest masked."""
    ids = torch.where(valid, ids, net.pad_id)
    random = chosen & draws.random
    ids = torch.where(random, draws.ids, ids)
    return torch.where(chosen & ~random & draws.mask, net.mask_id, ids)


def mask_tokens(
    net: MaskedTransformer, ids: Tensor, valid: Tensor, draws: Draws, variant: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Times ``(batch,)``, ids with masks, and the asked ids (-1 elsewhere), both ``(batch, tokens)``.

    Args:
        net: the transformer. ids: base ids ``(batch, tokens)``. valid: ``(batch, tokens)``, False at padding.
        draws: the random numbers. variant: see :func:`chosen_positions`.
    """
    like = torch.zeros((), device=ids.device)
    time, order = draws.uniform((len(ids),), like), draws.uniform((len(ids), ids.shape[1]), like)
    chosen = chosen_positions(time, order, valid, variant)
    numbers = MaskDraws.draw((len(ids), ids.shape[1]), net.codes, like, draws)
    return time, masked_inputs(net, ids, valid, chosen, numbers), torch.where(chosen, ids, -1)
