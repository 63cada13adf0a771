"""MoMask's iterative decoding of base codes, and editing by inpainting."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.tokens.sampling import Chooser

KEPT = 1e5  # score of a position that is not masked again
FREE_SHARE = 0.16  # share that the authors' editing without spans masks at every step

Observer = Callable[[int, Tensor, Tensor], None]


def masked_shares(steps: int, device: torch.device) -> Tensor:
    """Share of positions masked at each step ``(steps,)``: a quarter of a cosine, in single precision as published."""
    return torch.cos(torch.linspace(0, 1, steps, device=device) * math.pi * 0.5)


def decode_base(
    net: MaskedTransformer,
    ids: Tensor,
    text: Tensor,
    valid: Tensor,
    choose: Chooser,
    *,
    steps: int,
    scale: float,
    editable: Tensor | None = None,
    free: bool = False,
    variant: str = "default",
    observe: Observer | None = None,
) -> Tensor:
    """Fill positions with base codes, the least certain ones again at every step; -1 at padding.

    Args:
        net: the masked transformer.
        ids: ``(batch, tokens)``; what stands at editable positions does not matter (but with ``free``).
        text: text vectors ``(batch, text width)``.
        valid: ``(batch, tokens)``, False at padding.
        choose: draws from the guided logits.
        steps: network evaluations.
        scale: guidance.
        editable: ``(batch, tokens)``, positions to fill; None = all.
        free: start from ``ids`` and mask 16 % of the positions at every step (the authors' editing without spans).
        variant: ``upstream``: a clip that has nothing to fill loses one token all the same, as with the authors.
        observe: called with the step, the masked ids and the guided logits.
    """
    editable = valid if editable is None else editable & valid
    table, length = net.table(), editable.sum(1)
    scores = torch.where(editable, 0.0, KEPT)
    ids = ids.clamp_min(0) if free else torch.where(editable, net.mask_id, ids.clamp_min(0))
    if variant == "default" or free or bool((editable == valid).all()):
        ids = torch.where(valid, ids, net.pad_id)
    for step, share in enumerate(masked_shares(steps, ids.device)):
        number = torch.round((FREE_SHARE if free else share) * length).clamp(min=1)
        again = scores.argsort(dim=1, stable=True).argsort(1) < number[:, None]
        again = again if variant == "upstream" else again & editable
        ids = torch.where(again, net.mask_id, ids)
        logits = net.guided(ids, text, scale, valid, table)
        if observe is not None:
            observe(step, ids, logits)
        drawn = choose(step, logits)
        ids = torch.where(again, drawn, ids)
        certainty = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
        scores = torch.where(editable if free else again, certainty, KEPT)
    return torch.where(valid, ids, -1)
