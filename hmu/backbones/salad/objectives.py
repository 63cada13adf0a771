"""Training objectives of SALAD's two stages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.base import State, Target
from hmu.backbones.salad.vae import kl_divergence, sample_posterior
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError

if TYPE_CHECKING:
    from hmu.backbones.salad.model import Salad

ELEMENTWISE = {"l2": F.mse_loss, "l1": F.l1_loss, "l1_smooth": F.smooth_l1_loss}

OPTIMIZER_DEFAULTS: dict[str, dict[str, Any]] = {
    "vae": {
        "epochs": 50,
        "batch_size": 256,
        "lr": 2e-4,
        "betas": (0.9, 0.99),
        "weight_decay": 0.0,
        "warmup": 2000,
        "milestones": (152_000, 252_000),
        "gamma": 0.05,
    },
    "denoiser": {
        "epochs": 500,
        "batch_size": 64,
        "lr": 5e-4,
        "betas": (0.9, 0.99),
        "weight_decay": 1e-6,
        "warmup": 2000,
        "milestones": (52_000,),
        "gamma": 0.1,
    },
}


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise in the shape of ``x``, from ``generator`` wherever that lives."""
    where = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=where, dtype=x.dtype).to(x.device)


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of ``values`` ``(batch, frames, ...)`` over valid frames; ``valid`` ``(batch, frames)`` or None."""
    if valid is None:
        return values.mean()
    per_frame = values.flatten(2).mean(2)
    return (per_frame * valid).sum() / valid.sum()


def vae_loss(model: Salad, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """``recon + 0.5 pos + 0.5 vel + 0.02 KL``; padding is neither read nor counted (``upstream``: both)."""
    frames = int(batch.lengths.max()) // model.unit_length * model.unit_length
    lengths = (batch.lengths // model.unit_length * model.unit_length).clamp(max=frames)
    motion = model.normalise(batch.motion[:, :frames], lengths)
    return vae_terms(model, motion, lengths, generator)


def vae_terms(
    model: Salad,
    motion: Tensor,
    lengths: Tensor,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
) -> dict[str, Tensor]:
    """The terms for normalised ``motion`` ``(batch, frames, features)``; ``noise`` may be given."""
    masked = model.variant == "default" and not bool((lengths >= motion.shape[1]).all())
    seen = lengths if masked else None
    mean, logvar = model.vae.encode(motion, seen)
    noise = normal_like(mean, generator) if noise is None else noise
    recon = model.vae.decode(sample_posterior(mean, logvar, noise), seen)
    return compare_terms(model, motion, recon, mean, logvar, seen)


def compare_terms(
    model: Salad, motion: Tensor, recon: Tensor, mean: Tensor, logvar: Tensor, lengths: Tensor | None
) -> dict[str, Tensor]:
    """Named terms of the VAE objective; ``lengths`` in frames, None = no padding."""
    options, blocks = model.vae.options, model.topology.blocks
    difference = ELEMENTWISE[options.recon_loss](recon, motion, reduction="none")
    valid = None if lengths is None else length_mask(lengths, motion.shape[1])
    small = None if lengths is None else length_mask(model.latent_lengths(lengths), mean.shape[1])
    terms = {
        "recon": masked_mean(difference, valid),
        "pos": masked_mean(difference[..., blocks["ric"]], valid),
        "vel": masked_mean(difference[..., blocks["vel"]], valid),
        "kl": masked_mean(kl_divergence(mean, logvar), small),
    }
    extra = options.lambda_pos * terms["pos"] + options.lambda_vel * terms["vel"] + options.lambda_kl * terms["kl"]
    return {"loss": terms["recon"] + extra, **terms}


def corrupt(model: Salad, target: Target, generator: torch.Generator | None) -> State:
    """Latent, timestep, noise; cut to the longest clip (``upstream``: not cut)."""
    mean, logvar = target.tensors["mean"], target.tensors["logvar"]
    lengths = model.latent_lengths(target.lengths)
    if model.variant == "default":
        longest = int(lengths.max())
        mean, logvar = mean[:, :longest], logvar[:, :longest]
    latent = mean if model.posterior == "mean" else sample_posterior(mean, logvar, normal_like(mean, generator))
    time = model.diffusion.draw_times(len(target), generator, mean.device)
    return noised(model, latent, normal_like(mean, generator), time, lengths)


def noised(model: Salad, latent: Tensor, noise: Tensor, time: Tensor, lengths: Tensor) -> State:
    """The training state of a VAE latent under given noise; latent and noise are zeroed beyond ``lengths``."""
    valid = length_mask(lengths, latent.shape[1])
    keep = valid[:, :, None, None].to(latent.dtype)
    clean, noise = latent * (keep * model.scale), noise * keep
    return State(model.diffusion.add(clean, noise, time), time, model.diffusion.answer(clean, noise, time), valid)


def distance(model: Salad, prediction: Tensor, answer: Tensor, state: State) -> Tensor:
    """Per-item mean of the elementwise loss."""
    per_frame = ELEMENTWISE[model.denoiser.options.loss](prediction, answer, reduction="none").flatten(2).mean(2)
    if model.variant == "upstream":
        return per_frame.mean(1)
    return (per_frame * state.valid).sum(1) / state.valid.sum(1)


def drop_prompts(model: Salad, texts: list[str], generator: torch.Generator | None) -> list[str]:
    """Replace each prompt by the empty one with the configured probability."""
    where = model.mean.device if generator is None else generator.device
    draws = torch.rand(len(texts), generator=generator, device=where).tolist()
    return ["" if u < model.denoiser.options.cond_drop else text for u, text in zip(draws, texts, strict=True)]


def denoiser_loss(
    model: Salad, batch: MotionBatch, generator: torch.Generator | None, target: Target | None
) -> dict[str, Tensor]:
    """Prediction loss under condition dropout."""
    if model.latent_scale is None:
        raise ConfigError("backbone.latent_scale is not measured yet: call prepare_stage('denoiser', batches) first")
    target = model.encode_target(batch) if target is None else target
    state = model.corrupt(target, generator)
    condition = model.encode_text(drop_prompts(model, batch.texts, generator)).to(state.inputs.device)
    return {"loss": model.distance(model.predict(state, condition), state.answer, state).mean()}


def unit_variance_scale(model: Salad, targets: Iterable[Target]) -> float:
    """``1 / deviation`` of latents sampled from the posteriors, over the valid positions of all ``targets``.

    Raises:
        ConfigError: without any target.
    """
    total, square, count = 0.0, 0.0, 0
    for target in targets:
        valid = length_mask(model.latent_lengths(target.lengths), target.tensors["mean"].shape[1])
        mean, logvar = target.tensors["mean"][valid].double(), target.tensors["logvar"][valid].double()
        total, count = total + float(mean.sum()), count + mean.numel()
        square += float((mean.square() + logvar.exp()).sum())
    if count == 0:
        raise ConfigError("backbone.latent_scale=null is measured on the training clips, and there are none")
    return float((square / count - (total / count) ** 2) ** -0.5)
