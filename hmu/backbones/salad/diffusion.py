"""The noise schedule: training targets and samplers, all computed by ``diffusers``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from torch import Tensor

from hmu.backbones.salad.options import ScheduleOptions
from hmu.errors import ConfigError


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
