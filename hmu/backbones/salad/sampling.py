"""Guided sampling in the latent space (Ho & Salimans, 2022; SALAD section 3.3)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.salad.denoiser import Denoiser
from hmu.text.base import TextCondition, concat_conditions

Observer = Callable[[int, Tensor], None]


def branches(condition: TextCondition, empty: TextCondition, guidance: float) -> TextCondition:
    """The prompts of one guided evaluation: both, the empty ones first; at guidance 0 the empty prompts alone."""
    empty = empty.to(condition.tokens.device).expand(len(condition))
    return empty if guidance == 0 else concat_conditions([empty, condition])


def denoise(
    denoiser: Denoiser,
    scheduler: Any,
    noise: Tensor,
    prompts: TextCondition,
    valid: Tensor | None,
    scale: float,
    generator: torch.Generator | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """Denoise ``noise`` ``(batch, frames, 7, latent)``; both guidance branches share each forward pass.

    Args:
        scheduler: of diffusers, its timesteps set. noise: before the scheduler's own scale.
        prompts: one per clip; two per clip, the empty ones first, for guidance.
        valid: True at latent frames that belong to a clip ``(batch, frames)``; the others are zeroed after every step.
            None = no mask at all.
        scale: of the guidance, where there are two branches.
        generator: for schedulers that draw noise at each step.
        observe: called with the step's index and the latent after it.
    """
    memory = denoiser.remember(prompts.tokens, prompts.mask)
    stochastic = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    keep = None if valid is None else valid[:, :, None, None].to(noise.dtype)
    frame_mask = None if valid is None or bool(valid.all()) else valid
    x = noise * scheduler.init_noise_sigma
    for index, time in enumerate(scheduler.timesteps):
        given = scheduler.scale_model_input(x, time)
        prediction = denoiser(given, time.to(x.device), frame_mask=frame_mask, memory=memory)
        if len(prompts) > len(noise):
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + scale * (conditional - unconditional)
        x = scheduler.step(prediction, time, x, **stochastic).prev_sample
        x = x if keep is None else x * keep
        if observe is not None:
            observe(index, x)
    return x
