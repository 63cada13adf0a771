"""Sampling through every timestep, as the authors of GaitDynamics can; ours generates with DDIM."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.diffusion import Diffusion, betas
from hmu.backbones.gaitdynamics.sampling import Known, Network, Noises


def tables(process: Diffusion) -> dict[str, Tensor]:
    """All published buffers by name: those that hmu reads, and those of this sampler, float32 ``(timesteps,)``."""
    beta = torch.from_numpy(betas(process.options)).float()
    product = torch.cumprod(1 - beta, 0)
    before = torch.cat([torch.ones(1), product[:-1]])
    variance = beta * (1 - before) / (1 - product)
    return {
        **process.tables,
        "betas": beta,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": before,
        "log_one_minus_alphas_cumprod": (1 - product).log(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": beta * before.sqrt() / (1 - product),
        "posterior_mean_coef2": (1 - before) * (1 - beta).sqrt() / (1 - product),
    }


def posterior(process: Diffusion, clean: Tensor, noisy: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. 2020, equation 7)."""
    names = ("posterior_mean_coef1", "posterior_mean_coef2", "posterior_log_variance_clipped")
    values = (tables(process)[name].to(noisy.device, noisy.dtype)[time] for name in names)
    first, second, log_variance = (value.reshape(-1, *[1] * (noisy.dim() - 1)) for value in values)
    return first * clean + second * noisy, log_variance


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
