"""The noise process of GaitDynamics: schedules, training states, and steps back.

Betas are rounded to float32 before their products are taken, as in the published checkpoints' training; the tables are
kept in float32 and cast to the type of the data.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.gaitdynamics.options import ScheduleOptions

COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999


def betas(options: ScheduleOptions) -> NDArray[np.float64]:
    """Variances ``(timesteps,)`` in double precision, by the authors' names (see :class:`ScheduleOptions`)."""
    n, start, end = options.timesteps, options.beta_start, options.beta_end
    if options.beta_schedule == "linear":
        return np.linspace(start**0.5, end**0.5, n, dtype=np.float64) ** 2
    if options.beta_schedule == "sqrt_linear":
        return np.linspace(start, end, n, dtype=np.float64)
    if options.beta_schedule == "sqrt":
        return np.linspace(start, end, n, dtype=np.float64) ** 0.5
    position = np.arange(n + 1, dtype=np.float64) / n + COSINE_OFFSET
    alphas = np.cos(position / (1 + COSINE_OFFSET) * np.pi / 2) ** 2
    return np.clip(1 - alphas[1:] / alphas[:-1], 0, LARGEST_BETA)


class Diffusion:
    """Forward process, and what an answer of the network means."""

    def __init__(self, options: ScheduleOptions) -> None:
        self.options = options

    @property
    def timesteps(self) -> int:
        """Number of noise levels."""
        return self.options.timesteps

    @cached_property
    def tables(self) -> dict[str, Tensor]:
        """Those published buffers that are read here, float32 ``(timesteps,)``; ``p2_loss_weight`` as if it were on."""
        product = torch.cumprod(1 - torch.from_numpy(betas(self.options)).float(), 0)
        return {
            "sqrt_alphas_cumprod": product.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - product).sqrt(),
            "sqrt_recip_alphas_cumprod": (1 / product).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / product - 1).sqrt(),
            "p2_loss_weight": (1 + product / (1 - product)) ** -0.5,
        }

    def at(self, name: str, time: Tensor, like: Tensor) -> Tensor:
        """Table ``name`` at timesteps ``(batch,)``, shaped to multiply ``like`` ``(batch, ...)``."""
        value = self.tables[name].to(like.device, like.dtype)[time.to(like.device)]
        return value.reshape(-1, *[1] * (like.dim() - 1))

    def add(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """``sqrt(a) x0 + sqrt(1 - a) e`` at timesteps ``(batch,)``."""
        signal = self.at("sqrt_alphas_cumprod", time, clean)
        return signal * clean + self.at("sqrt_one_minus_alphas_cumprod", time, clean) * noise

    def target(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What the network should predict, in the shape of ``clean``."""
        return noise if self.options.predict == "noise" else clean

    def to_clean(self, prediction: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The clean states that a prediction implies, in its shape; timesteps ``(batch,)``."""
        if self.options.predict == "sample":
            return prediction
        signal = self.at("sqrt_recip_alphas_cumprod", time, noisy)
        return signal * noisy - self.at("sqrt_recipm1_alphas_cumprod", time, noisy) * prediction

    def to_noise(self, clean: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The noise that clean states imply, in their shape: ``(x / sqrt(a) - x0) / sqrt(1 / a - 1)``."""
        signal = self.at("sqrt_recip_alphas_cumprod", time, noisy)
        return (signal * noisy - clean) / self.at("sqrt_recipm1_alphas_cumprod", time, noisy)

    def ddim_times(self, steps: int) -> list[int]:
        """``steps + 1`` timesteps from ``timesteps - 1`` down to -1, evenly spaced, truncated to whole numbers."""
        return [int(t) for t in torch.linspace(-1, self.timesteps - 1, steps + 1).int().flip(0).tolist()]

    def ddim(self, clean: Tensor, noisy: Tensor, time: int, after: int) -> Tensor:
        """One deterministic step (Song et al. 2021, eta 0) to timestep ``after``; -1 returns the clean states."""
        if after < 0:
            return clean
        batch = len(noisy)
        noise = self.to_noise(clean, noisy, torch.full((batch,), time, device=noisy.device))
        return self.add(clean, noise, torch.full((batch,), after, device=noisy.device))
