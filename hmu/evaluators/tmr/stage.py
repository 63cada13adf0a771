"""TMR's only training stage on batches: reconstruct from either latent, and bring the two together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.data.batch import MotionBatch, length_mask
from hmu.evaluators.tmr.objectives import contrastive, false_negatives, latent_kl, reconstruction, sample_latent

if TYPE_CHECKING:
    from hmu.evaluators.tmr.evaluator import TMREvaluator

Latent = tuple[Tensor, Tensor | None]


def joint_terms(
    model: TMREvaluator,
    normalised: Tensor,
    mask: Tensor,
    latents: tuple[Latent, Latent],
    noise: tuple[Tensor, Tensor] | None,
    sentences: Tensor | None,
) -> dict[str, Tensor]:
    """All terms of the objective and their weighted sum ``loss``.

    Args:
        model: decoder, weights, temperature, threshold and variant are read.
        normalised: motion ``(batch, frames, features)``; mask: its real frames ``(batch, frames)``.
        latents: mean and log-variance of text and of motion, each ``(batch, width)``.
        noise: standard normal ``(batch, width)`` for text and motion; None takes the means.
        sentences: unit sentence embeddings ``(batch, any)``; None: every other caption of the batch is a negative.
    """
    text, motion = (
        latent[0] if eps is None else sample_latent(*latent, eps)
        for latent, eps in zip(latents, noise or (None, None), strict=True)
    )
    counted = None if model.variant == "upstream" else mask
    recons = torch.stack(
        [reconstruction(model.motion_decoder(z, mask), normalised, counted) for z in (text, motion)]
    ).sum()
    (text_mean, text_logvar), (motion_mean, motion_logvar) = latents
    kl = recons.new_zeros(())
    if text_logvar is not None and motion_logvar is not None:
        kl = latent_kl((text_mean, text_logvar), (motion_mean, motion_logvar))
    filtered = None if sentences is None else false_negatives(sentences, model.threshold)
    terms = {
        "recons": recons,
        "kl": kl,
        "latent": F.smooth_l1_loss(text, motion),
        "contrastive": contrastive(text, motion, model.temperature, filtered),
    }
    return {**terms, "loss": torch.stack([model.weights[name] * term for name, term in terms.items()]).sum()}


def joint_stage(model: TMREvaluator, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """The objective on a batch; text noise is drawn before motion noise, as published."""
    normalised = model.normalise(batch.motion, batch.lengths)
    mask = length_mask(batch.lengths.to(normalised.device), normalised.shape[1])
    latents = model.encode_text(model.read(batch.texts)), model.encode_motion(normalised, batch.lengths)
    noise = None
    if model.training or model.variant == "upstream":
        device = normalised.device if generator is None else generator.device
        shape = latents[0][0].shape
        text, motion = (torch.randn(shape, generator=generator, device=device).to(normalised) for _ in range(2))
        noise = (text, motion)
    return joint_terms(model, normalised, mask, latents, noise, model.embed_sentences(batch.texts))
