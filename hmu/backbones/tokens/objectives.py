"""Training objectives that all generators of tokens share, of tensors alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import Draws


def active_layers(uniform: Tensor, quantizers: int) -> Tensor:
    """Which residual layer each item is asked for, 1 … Q-1: ``round((1 - cos(pi/2 u)) (Q - 2)) + 1`` ``(batch,)``."""
    return ((1 - torch.cos(uniform * math.pi * 0.5)) * (quantizers - 2)).round().long() + 1


def known_layers(ids: Tensor, layer: Tensor) -> Tensor:
    """``ids`` ``(batch, tokens, layers)`` of the layers before ``layer`` ``(batch,)``; the others become -1."""
    before = torch.arange(ids.shape[-1], device=ids.device)[None, :] < layer[:, None]
    return torch.where(before[:, None, :], ids, -1)


def layer_ids(ids: Tensor, layer: Tensor, valid: Tensor) -> Tensor:
    """Ids of one layer per item ``(batch, tokens)``, -1 at padding."""
    picked = ids.gather(2, layer[:, None, None].expand(-1, ids.shape[1], 1))[..., 0]
    return torch.where(valid, picked, -1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """``-log p(target)`` per position, 0 where it is -1; ``logits`` ``(..., classes)``, ``target`` ``(...)``."""
    flat = F.cross_entropy(logits.flatten(0, -2), target.flatten(), ignore_index=-1, reduction="none")
    return flat.view(target.shape)


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """``KL(softmax target || softmax logits)`` per position; both ``(..., classes)``, unnormalised."""
    log_target = target.log_softmax(-1)
    return (log_target.exp() * (log_target - logits.log_softmax(-1))).sum(-1)


def distance(prediction: Tensor, target: Tensor, asked_ids: Tensor) -> Tensor:
    """Per-item mean ``(batch,)`` over the asked positions, and over the parts.

    Args:
        prediction: logits ``(batch, tokens, parts, classes)``.
        target: ids ``(batch, tokens, parts)``, or logits in the shape of ``prediction``.
        asked_ids: ids ``(batch, tokens, parts)``, -1 where nothing is asked.
    """
    asked = asked_ids >= 0
    compare = divergence if target.is_floating_point() else cross_entropy
    values = torch.where(asked, compare(prediction, target), 0.0)
    return (values.sum(1) / asked.sum(1).clamp(min=1)).mean(1)


def drop_texts(text: Tensor, share: float, draws: Draws) -> Tensor:
    """Vectors ``(batch, width)``, each replaced by zeros ("no text") with probability ``share``."""
    keep = draws.uniform((len(text), 1), text) >= share
    return torch.where(keep, text, torch.zeros_like(text))


def token_terms(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy and share of right ids over the positions whose ``target`` ``(batch, tokens)`` is not -1."""
    asked = target >= 0
    count = asked.sum().clamp(min=1)
    right = ((logits.detach().argmax(-1) == target) & asked).sum() / count
    return {"loss": cross_entropy(logits, target).sum() / count, "accuracy": right}
