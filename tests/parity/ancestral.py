"""Sampling through every timestep, as the authors of GaitDynamics can; ours generates with DDIM."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.sampling import Known, Network, Noises


def posterior(process: Diffusion, clean: Tensor, noisy: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. 2020, equation 7)."""
    first, second = (process.at(f"posterior_mean_coef{number}", time, noisy) for number in (1, 2))
    return first * clean + second * noisy, process.at("posterior_log_variance_clipped", time, noisy)


def step(process: Diffusion, clean: Tensor, noisy: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """From ``x_t`` to ``x_{t-1}``; no noise is added at timestep 0."""
    mean, log_variance = posterior(process, clean, noisy, time)
    keep = (time > 0).to(noisy).reshape(-1, *[1] * (noisy.dim() - 1))
    return mean + keep * (0.5 * log_variance).exp() * noise


@torch.no_grad()
def ancestral(
    network: Network, process: Diffusion, x: Tensor, noises: Noises, known: Known | None = None, restore: bool = True
) -> Tensor:
    """Clean states of noise ``x`` (Ho et al. 2020); arguments as ``sampling.ddim``.

    ``noises`` yields, per timestep, the step's noise and then (if values are known, not after the last step) theirs.
    """
    for now in range(process.timesteps - 1, -1, -1):
        time = torch.full((len(x),), now, device=x.device)
        clean = process.to_clean(network(x, time), x, time)
        x = step(process, clean, x, time, next(noises))
        if known is not None and now > 0:
            x = known.noised(process, x, noises, now - 1)
    return known.put(x, known.value) if known is not None and restore else x
