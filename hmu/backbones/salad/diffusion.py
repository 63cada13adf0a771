"""The noise schedule, whose targets and samplers ``diffusers`` computes, and guided sampling in the latent space."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.options import ScheduleOptions
from hmu.errors import ConfigError
from hmu.text.base import TextCondition

Observer = Callable[[int, Tensor], None]


def _scheduler_class(name: str) -> type:
    import diffusers  # lazily: heavy, and not needed to read a configuration

    kind = getattr(diffusers, name, None)
    if not inspect.isclass(kind) or not (hasattr(kind, "set_timesteps") and hasattr(kind, "step")):
        raise ConfigError(
            f"backbone.sampling.scheduler={name} is no scheduler of diffusers: "
            "try DDIMScheduler or DPMSolverMultistepScheduler"
        )
    return kind


class Diffusion:
    """Forward process and the model's own parametrisation."""

    def __init__(self, options: ScheduleOptions) -> None:
        self.options = options

    @cached_property
    def _process(self) -> Any:
        return self.scheduler("DDIMScheduler")

    def scheduler(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """A ``diffusers`` scheduler for this noise schedule; ConfigError for an unknown class or argument.

        Defaults are the published ones where the class knows the argument (no clipping, ``set_alpha_to_one``,
        leading spacing without offset).
        """
        kind, own = _scheduler_class(name), self.options
        known = set(inspect.signature(kind).parameters)
        unknown = sorted(set(options or {}) - known)
        if unknown:
            raise ConfigError(f"backbone.sampling.options: {name} has no argument {', '.join(unknown)}")
        settings = {
            "num_train_timesteps": own.timesteps,
            "beta_start": own.beta_start,
            "beta_end": own.beta_end,
            "beta_schedule": own.beta_schedule,
            "prediction_type": own.prediction_type,
            "clip_sample": False,
            "set_alpha_to_one": True,
            "steps_offset": 0,
        }
        try:
            return kind(**{key: value for key, value in settings.items() if key in known}, **dict(options or {}))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigError(f"backbone.sampling: {name} cannot be built: {error}") from error

    @property
    def timesteps(self) -> int:
        """Number of noise levels."""
        return self.options.timesteps

    def add(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """``sqrt(a) x0 + sqrt(1 - a) e`` at timesteps ``(batch,)``."""
        return self._process.add_noise(clean, noise, time)

    def target(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What the network should predict, in the shape of ``clean``.

        A velocity is ``sqrt(a) e - sqrt(1 - a) x0`` (Salimans & Ho, 2022).
        """
        if self.options.prediction_type == "v_prediction":
            return self._process.get_velocity(clean, noise, time)
        return noise if self.options.prediction_type == "epsilon" else clean

    def _roots(self, time: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self._process.alphas_cumprod.to(like.device, like.dtype)[time]
        alpha = alpha.reshape(-1, *[1] * (like.dim() - 1))
        return alpha.sqrt(), (1 - alpha).sqrt()

    def to_noise(self, prediction: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The noise that a prediction implies, in its shape (for a velocity ``sqrt(a) v + sqrt(1 - a) x_t``)."""
        signal, sigma = self._roots(time, noisy)
        if self.options.prediction_type == "v_prediction":
            return signal * prediction + sigma * noisy
        return prediction if self.options.prediction_type == "epsilon" else (noisy - signal * prediction) / sigma

    def to_clean(self, prediction: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The clean latent that a prediction implies, in its shape (for a velocity ``sqrt(a) x_t - sqrt(1 - a) v``)."""
        signal, sigma = self._roots(time, noisy)
        if self.options.prediction_type == "v_prediction":
            return signal * noisy - sigma * prediction
        return (noisy - sigma * prediction) / signal if self.options.prediction_type == "epsilon" else prediction


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
    """Denoise ``noise`` ``(batch, frames, 7, latent)``; both branches of the guidance (Ho & Salimans, 2022; SALAD
    section 3.3) share each forward pass.

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
