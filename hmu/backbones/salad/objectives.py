"""Training objectives of SALAD's two stages, of tensors and networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import Draws
from hmu.backbones.salad.vae import Vae, kl_divergence, sample_posterior
from hmu.data.batch import length_mask
from hmu.errors import ConfigError

ELEMENTWISE = {"l2": F.mse_loss, "l1": F.l1_loss, "l1_smooth": F.smooth_l1_loss}


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of ``values`` ``(batch, frames, ...)`` over valid frames; ``valid`` ``(batch, frames)`` or None."""
    if valid is None:
        return values.mean()
    per_frame = values.flatten(2).mean(2)
    return (per_frame * valid).sum() / valid.sum()


def per_item(kind: str, prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Mean loss per item ``(batch,)`` of ``(batch, frames, ...)`` over valid frames ``(batch, frames)``; None = all.

    ``kind``: a key of :data:`ELEMENTWISE`.
    """
    per_frame = ELEMENTWISE[kind](prediction, target, reduction="none").flatten(2).mean(2)
    return per_frame.mean(1) if valid is None else (per_frame * valid).sum(1) / valid.sum(1)


def vae_terms(
    vae: Vae,
    motion: Tensor,
    lengths: Tensor | None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """``recon + 0.5 pos + 0.5 vel + 0.02 KL`` (weights of the options) and its terms, as means.

    Args:
        motion: normalised features ``(batch, frames, features)``.
        lengths: frames ``(batch,)``; padding is neither read nor counted. None = no padding, or the authors' way.
        noise: standard normal, of the posterior's shape ``(batch, latent frames, 7, latent)``; None = drawn.
    """
    mean, logvar = vae.encode(motion, lengths)
    noise = Draws(generator).normal(tuple(mean.shape), mean) if noise is None else noise
    recon = vae.decode(sample_posterior(mean, logvar, noise), lengths)
    options, layout = vae.options, vae.topology.layout
    difference = ELEMENTWISE[options.recon_loss](recon, motion, reduction="none")
    valid = None if lengths is None else length_mask(lengths, motion.shape[1])
    small = None if lengths is None else length_mask(lengths // vae.unit_length, mean.shape[1])
    terms = {
        "recon": masked_mean(difference, valid),
        "pos": masked_mean(difference[..., layout.positions], valid),
        "vel": masked_mean(difference[..., layout.velocities], valid),
        "kl": masked_mean(kl_divergence(mean, logvar), small),
    }
    extra = options.lambda_pos * terms["pos"] + options.lambda_vel * terms["vel"] + options.lambda_kl * terms["kl"]
    return {"loss": terms["recon"] + extra, **terms}


def drop_prompts(
    texts: Sequence[str], share: float, generator: torch.Generator | None, device: torch.device
) -> list[str]:
    """Replace each prompt by the empty one with probability ``share``."""
    where = device if generator is None else generator.device
    draws = torch.rand(len(texts), generator=generator, device=where).tolist()
    return ["" if u < share else text for u, text in zip(draws, texts, strict=True)]


def unit_variance_scale(posteriors: Iterable[tuple[Tensor, Tensor, Tensor]]) -> float:
    """``1 / deviation`` of latents sampled from posteriors, over their valid positions.

    Of each: mean and log-variance ``(batch, frames, 7, latent)``, and valid positions ``(batch, frames)``.
    """
    total, square, count = 0.0, 0.0, 0
    for means, logvars, valid in posteriors:
        mean, logvar = means[valid].double(), logvars[valid].double()
        total, count = total + float(mean.sum()), count + mean.numel()
        square += float((mean.square() + logvar.exp()).sum())
    if count == 0:
        raise ConfigError("backbone.latent_scale=null is measured on the training clips, and there are none")
    return float((square / count - (total / count) ** 2) ** -0.5)
