"""Guided sampling in the latent space (Ho & Salimans, 2022; SALAD section 3.3)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hmu.backbones.salad.topology import BODY_PARTS
from hmu.data.batch import length_mask
from hmu.text.base import TextCondition, concat_conditions

if TYPE_CHECKING:
    from hmu.backbones.salad.model import Salad

Observer = Callable[[int, Tensor], None]


def draw_noise(
    lengths: Tensor, latent: int, generator: torch.Generator | None, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Initial noise ``(batch, max(lengths), 7, latent)``, zero beyond each latent length.

    Drawn clip by clip, so that a clip's noise does not depend on how long its neighbours are, nor on the batch size.
    """
    where = device if generator is None else generator.device
    clips = [torch.randn(n, len(BODY_PARTS), latent, generator=generator, device=where) for n in lengths.tolist()]
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).to(device, dtype)


def branches(model: Salad, condition: TextCondition, guidance: float) -> tuple[TextCondition, bool]:
    """The prompts of one network evaluation, and whether they are the pair (empty, text).

    A scale of 1 is the text alone, 0 the empty prompt alone. The published code decides at *training* time: with a
    configured scale <= 1 it feeds empty prompts only and ignores the text (``variant: upstream``).
    """
    ignored = model.variant == "upstream" and model.sampling.guidance <= 1
    if guidance == 1 and not ignored:
        return condition, False
    empty = model.empty_condition().to(condition.tokens.device).expand(len(condition))
    if ignored or guidance == 0:
        return empty, False
    return concat_conditions([empty, condition]), True


def denoise(
    model: Salad,
    noise: Tensor,
    condition: TextCondition,
    lengths: Tensor | None,
    *,
    guidance: float | None = None,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """Denoise ``noise`` ``(batch, frames, 7, latent)``; both guidance branches share each forward pass.

    Args:
        model: the backbone.
        noise: initial noise, before the scheduler's own scale.
        condition: one prompt per clip.
        lengths: latent lengths ``(batch,)``; padding is zeroed after every step. None = no mask at all.
        guidance, steps: the model's own where None.
        generator: for schedulers that draw noise at each step.
        observe: called with the step's index and the latent after it.
    """
    scale = model.sampling.guidance if guidance is None else float(guidance)
    prompts, guided = branches(model, condition, scale)
    memory = model.denoiser.remember(prompts.tokens, prompts.mask)
    scheduler = model.diffusion.scheduler(model.sampling.scheduler, model.sampling.options)
    scheduler.set_timesteps(steps or model.sampling.steps)
    stochastic = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    mask = None if lengths is None else length_mask(lengths, noise.shape[1])
    keep = None if mask is None else mask[:, :, None, None].to(noise.dtype)
    frame_mask = None if mask is None or bool(mask.all()) else mask
    x = noise * scheduler.init_noise_sigma
    for index, time in enumerate(scheduler.timesteps):
        given = scheduler.scale_model_input(x, time)
        answer = model.denoiser(given, time.to(x.device), frame_mask=frame_mask, memory=memory)
        if guided:
            unconditional, conditional = answer.chunk(2)
            answer = unconditional + scale * (conditional - unconditional)
        x = scheduler.step(answer, time, x, **stochastic).prev_sample
        x = x if keep is None else x * keep
        if observe is not None:
            observe(index, x)
    return x


class evaluating(AbstractContextManager[None]):
    """Modules in evaluation mode (no dropout) and no gradients inside; their modes are restored after."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        self.modules = modules
        self.modes: list[bool] = []
        self.no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self.modes = [module.training for module in self.modules]
        for module in self.modules:
            module.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: object) -> None:
        self.no_grad.__exit__(*error)
        for module, mode in zip(self.modules, self.modes, strict=True):
            module.train(mode)
