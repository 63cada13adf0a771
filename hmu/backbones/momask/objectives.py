"""Training objectives of the transformers: what is masked, what is asked, and how answers are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.rvq import rvq_terms
from hmu.data.batch import MotionBatch
from hmu.motion.layout import FeatureLayout

if TYPE_CHECKING:
    from hmu.backbones.momask.model import MoMask

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


def corrupt(model: MoMask, target: Target, generator: torch.Generator | None) -> State:
    """Partly masked base codes, and the residual codes before a drawn layer; see :meth:`MoMask.corrupt`."""
    ids, valid = model.token_ids(target)
    draws, inputs, answers = Draws(generator), list[Tensor](), list[Tensor]()
    time = torch.zeros(len(ids), device=ids.device)
    if "masked" in model.parts:
        time, seen, answer = mask_tokens(model, ids[..., 0], valid, draws)
        inputs.append(seen[..., None])
        answers.append(answer)
    if "residual" in model.parts:
        layer = active_layers(draws.uniform((len(ids),), time), ids.shape[-1])
        inputs.append(known_layers(ids, layer)[..., :-1])
        answers.append(layer_ids(ids, layer, valid))
    return State(torch.cat(inputs, -1), time, torch.stack(answers, -1), valid)


def mask_tokens(model: MoMask, ids: Tensor, valid: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Times ``(batch,)``, ids with masks, and the asked ids (-1 elsewhere), both ``(batch, tokens)``."""
    like = torch.zeros((), device=ids.device)
    time, order = draws.uniform((len(ids),), like), draws.uniform((len(ids), ids.shape[1]), like)
    chosen = chosen_positions(time, order, valid, model.variant)
    numbers = MaskDraws.draw((len(ids), ids.shape[1]), model.masked.codes, like, draws)
    return time, masked_inputs(model.masked, ids, valid, chosen, numbers), torch.where(chosen, ids, -1)


def layer_ids(ids: Tensor, layer: Tensor, valid: Tensor) -> Tensor:
    """Ids of one layer per item ``(batch, tokens)``, -1 at padding."""
    picked = ids.gather(2, layer[:, None, None].expand(-1, ids.shape[1], 1))[..., 0]
    return torch.where(valid, picked, -1)


def distance(prediction: Tensor, answer: Tensor, state: State) -> Tensor:
    """Per-item mean over the asked positions, and over the parts; see :meth:`MoMask.distance`."""
    asked = state.target >= 0
    compare = divergence if answer.is_floating_point() else cross_entropy
    values = torch.where(asked, compare(prediction, answer), 0.0)
    return (values.sum(1) / asked.sum(1).clamp(min=1)).mean(1)


def rvq_loss(model: MoMask, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Reconstruction, positions and commitment over real frames (``upstream``: padding is read and counted)."""
    motion, lengths = model.crop(batch)
    seen = lengths if model.variant == "default" else None
    output = model.rvq(motion, seen, Draws(generator))
    return rvq_terms(output, motion, model.rvq.options, FeatureLayout.of(model.features).positions, seen)


def drop_texts(text: Tensor, share: float, draws: Draws) -> Tensor:
    """Vectors ``(batch, width)``, each replaced by zeros ("no text") with probability ``share``."""
    keep = draws.uniform((len(text), 1), text) >= share
    return torch.where(keep, text, torch.zeros_like(text))


def masked_loss(model: MoMask, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Cross-entropy over all masked positions of the batch, under condition dropout."""
    ids, valid = model.token_ids(model.encode_target(batch))
    draws, text = Draws(generator), model.vectors(batch.texts)
    _, inputs, answer = mask_tokens(model, ids[..., 0], valid, draws)
    logits = model.masked(inputs, drop_texts(text, model.masked.options.cond_drop, draws), valid)
    return answer_terms(logits, answer)


def residual_loss(model: MoMask, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Cross-entropy of one drawn layer per clip over its real positions, under condition dropout."""
    ids, valid = model.token_ids(model.encode_target(batch))
    draws, text = Draws(generator), model.vectors(batch.texts).detach()
    layer = active_layers(draws.uniform((len(ids),), text), ids.shape[-1])
    text = drop_texts(text, model.residual.options.cond_drop, draws)
    history = model.residual.history(known_layers(ids, layer)[..., :-1])
    logits = model.residual(history, layer, text, valid, padding=model.variant == "upstream")
    return answer_terms(logits, layer_ids(ids, layer, valid))


def answer_terms(logits: Tensor, answer: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy and share of right answers over all positions whose ``answer`` is not -1."""
    asked = answer >= 0
    count = asked.sum().clamp(min=1)
    right = ((logits.detach().argmax(-1) == answer) & asked).sum() / count
    return {"loss": cross_entropy(logits, answer).sum() / count, "accuracy": right}


def length_loss(model: MoMask, batch: MotionBatch) -> dict[str, Tensor]:
    """Cross-entropy of the number of tokens."""
    estimator = model.need_length(create=True)
    assert estimator is not None
    text, tokens = model.vectors(batch.texts).detach(), batch.lengths // model.unit_length
    logits = estimator(text)
    error = (logits.detach().argmax(1) - tokens).abs().float().mean() * model.unit_length
    return {"loss": F.cross_entropy(logits, tokens), "frames_off": error}
