"""MoMask's masked transformer (section 3.2): the network, what training asks it, and the decoding of base codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.encoder import Stack, key_mask, repeat_rows
from hmu.backbones.tokens.options import TransformerOptions
from hmu.backbones.tokens.sampling import Chooser
from hmu.backbones.tokens.transformer import TokenTransformer

RANDOM_SHARE, MASK_SHARE = 0.1, 0.88  # of the chosen: random ids; of the rest: the mask
KEPT = 1e5  # score of a position that is not masked again


class MaskedTransformer(TokenTransformer):
    """Bidirectional transformer over base codes; the text has no position.

    Args:
        codes: classes; id ``codes`` is the mask, ``codes + 1`` the padding.
        code_dim, text_width, options: see :class:`~hmu.backbones.tokens.transformer.TokenTransformer`.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: TransformerOptions) -> None:
        super().__init__(codes, codes, code_dim, text_width, options, Stack(options))
        self.options, self.mask_id, self.pad_id = options, codes, codes + 1

    def features(  # type: ignore[override]
        self, ids: Tensor, text: Tensor, valid: Tensor | None = None, table: Tensor | None = None
    ) -> Tensor:
        """What enters the last linear layer, ``(rows, tokens, width)``.

        Args:
            ids: ``(batch, tokens)``, with mask and padding ids.
            text: ``(rows, text width)``; ``rows`` may be a multiple of the batch, whose tokens are repeated then.
            valid: ``(batch, tokens)``, False at padding, which is not read; None = all valid.
            table: of :meth:`table`.
        """
        x = self.position_enc(F.embedding(ids, self.table() if table is None else table))
        mask = key_mask(valid, 1)
        x, mask = repeat_rows(x, len(text)), None if mask is None else repeat_rows(mask, len(text))
        x = torch.cat([self.cond_emb(text)[:, None], x], 1)
        return self.output_process.features(self.seqTransEncoder(x, mask)[:, 1:])


# -- training ----------------------------------------------------------------------------------------------------------
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


# -- generation --------------------------------------------------------------------------------------------------------
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
    variant: str = "default",
) -> Tensor:
    """Fill positions with base codes, the least certain ones again at every step; -1 at padding.

    Args:
        net: the masked transformer.
        ids: ``(batch, tokens)``; what stands at editable positions does not matter.
        text: text vectors ``(batch, text width)``.
        valid: ``(batch, tokens)``, False at padding.
        choose: draws from the guided logits.
        steps: network evaluations.
        scale: guidance.
        editable: ``(batch, tokens)``, positions to fill; None = all.
        variant: ``upstream``: a clip that has nothing to fill loses one token all the same, as with the authors.
    """
    editable = valid if editable is None else editable & valid
    table, length = net.table(), editable.sum(1)
    scores = torch.where(editable, 0.0, KEPT)
    ids = torch.where(editable, net.mask_id, ids.clamp_min(0))
    if variant == "default" or bool((editable == valid).all()):
        ids = torch.where(valid, ids, net.pad_id)
    for share in masked_shares(steps, ids.device):
        number = torch.round(share * length).clamp(min=1)
        again = scores.argsort(dim=1, stable=True).argsort(1) < number[:, None]
        again = again if variant == "upstream" else again & editable
        ids = torch.where(again, net.mask_id, ids)
        logits = net.guided(ids, text, scale, valid, table)
        drawn = choose(logits)
        ids = torch.where(again, drawn, ids)
        certainty = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
        scores = torch.where(again, certainty, KEPT)
    return torch.where(valid, ids, -1)
