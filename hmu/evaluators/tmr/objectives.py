"""Training objective of TMR as pure functions (Petrovich et al., ICCV 2023, section 3; TEMOS, ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.errors import ConfigError

#: weights of the terms, as published
WEIGHTS: Mapping[str, float] = {"recons": 1.0, "latent": 1e-5, "kl": 1e-5, "contrastive": 0.1}


def term_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The published weights of the loss terms, with ``weights`` in their place.

    Raises:
        ConfigError: an unknown term.
    """
    unknown = set(weights) - set(WEIGHTS)
    if unknown:
        raise ConfigError(f"evaluator.weights: unknown term {sorted(unknown)}; known: {', '.join(WEIGHTS)}")
    return {**WEIGHTS, **{name: float(value) for name, value in weights.items()}}


def sample_latent(mean: Tensor, logvar: Tensor | None, noise: Tensor) -> Tensor:
    """``mean + noise * exp(logvar / 2)``, all ``(batch, width)``; the mean where there is no variance."""
    return mean if logvar is None else mean + noise * torch.exp(logvar / 2)


def gaussian_kl(mean: Tensor, logvar: Tensor, other_mean: Tensor, other_logvar: Tensor) -> Tensor:
    """KL(first || second) of diagonal Gaussians ``(batch, width)``, as published the *mean* over batch and width."""
    difference = logvar - other_logvar
    squared = (other_mean - mean).square() / other_logvar.exp()
    return 0.5 * (difference.exp() + squared - 1 - difference).mean()


def latent_kl(text: tuple[Tensor, Tensor], motion: tuple[Tensor, Tensor]) -> Tensor:
    """The four published divergences: text and motion to each other, and each to N(0, 1); scalar."""
    standard = torch.zeros_like(text[0]), torch.zeros_like(text[1])
    pairs = ((text, motion), (motion, text), (motion, standard), (text, standard))
    return torch.stack([gaussian_kl(*first, *second) for first, second in pairs]).sum()


def false_negatives(sentences: Tensor, threshold: float | None) -> Tensor:
    """Pairs of different rows whose captions mean the same, bool ``(batch, batch)``.

    Unit sentence embeddings ``(batch, width)``; the rule is ``cosine > 2 threshold - 1``. None or 0: no pair.
    """
    count = len(sentences)
    if not threshold:
        return torch.zeros(count, count, dtype=torch.bool, device=sentences.device)
    same = sentences @ sentences.mT > 2 * threshold - 1
    return same & ~torch.eye(count, dtype=torch.bool, device=sentences.device)


def contrastive(text: Tensor, motion: Tensor, temperature: float, filtered: Tensor | None = None) -> Tensor:
    """InfoNCE over cosines of ``(batch, width)``, rows and columns averaged; ``filtered`` pairs are no negatives."""
    logits = F.normalize(text, dim=-1) @ F.normalize(motion, dim=-1).mT / temperature
    if filtered is not None:
        logits = logits.masked_fill(filtered, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.mT, target)) / 2


def reconstruction(rebuilt: Tensor, motion: Tensor, mask: Tensor | None) -> Tensor:
    """Smooth L1 of normalised ``(batch, frames, features)``.

    With ``mask`` ``(batch, frames)`` the mean over real frames; without it over the whole padded array, as published:
    then the same clip counts less in a batch with a longer one.
    """
    if mask is None:
        return F.smooth_l1_loss(rebuilt, motion)
    return F.smooth_l1_loss(rebuilt[mask], motion[mask])
