"""Generating windows: DDIM, known values put back at every step, guided columns and means."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import SamplingOptions

Network = Callable[[Tensor, Tensor], Tensor]
Clean = Callable[[Tensor], Tensor]  # noisy states to the clean ones that the network's answer implies
Noises = Iterator[Tensor]
Valid = Tensor | None  # True at frames that count (batch, frames); None = all
STRIDE = 0.5  # root mean square of the longest Gauss-Newton step; noise has 1. Only networks that hardly answer need it


@dataclass(frozen=True)
class Known:
    """Values that a window must have.

    Attributes:
        value: normalised ``(batch, frames, features)``. mask: 1 where known, same shape.
    """

    value: Tensor
    mask: Tensor

    def put(self, x: Tensor, known: Tensor) -> Tensor:
        """``x`` with ``known``, of its shape, in the known places."""
        return self.mask * known + (1 - self.mask) * x

    def noised(self, diffusion: Diffusion, x: Tensor, noises: Noises | None, time: int) -> Tensor:
        """``x`` with the known values noised to ``time`` by the next of ``noises``, each of the shape of ``x``."""
        if noises is None:
            raise ValueError("known values need noises")
        levels = torch.full((len(x),), time, device=x.device)
        return self.put(x, diffusion.add(self.value, next(noises), levels))


@dataclass(frozen=True)
class ColumnGuidance:
    """Columns that are pulled towards values by the gradient of the network's clean answer.

    The pull is the gradient of ``sum(relu(|x0 - value| - threshold) * weight)``.

    Attributes:
        value: normalised, broadcast to ``(batch, frames, features)``.
        threshold: how far off is good enough, normalised ``(features,)``.
        weight: strength of the pull, 0 = free ``(features,)``.
    """

    value: Tensor
    threshold: Tensor
    weight: Tensor

    def excess(self, clean: Tensor) -> Tensor:
        """What is to be made small, one number for ``clean`` ``(batch, frames, features)``."""
        return (((clean - self.value).abs() - self.threshold).relu() * self.weight).sum()

    def approach(self, clean_of: Clean, x: Tensor, options: SamplingOptions, valid: Valid) -> Tensor:
        """``x``, in its shape, after ``guide_steps`` gradient steps of ``guide_rate`` at one timestep (published)."""
        for _ in range(options.guide_steps):
            _, gradient = _slope(self.excess, clean_of, x)
            x = x - options.guide_rate * gradient
        return x

    def impose(self, clean: Tensor, valid: Valid) -> Tensor:
        """``clean``, of any shape, as it is: this guidance only pulls."""
        return clean


@dataclass(frozen=True)
class WindowMean:
    """The mean of one column over a window, met exactly, with the other columns brought along.

    A mean leaves the column its rise and fall within a step, which equal values for every frame would flatten. Setting
    it in the clean answer alone (as in DDNM, Wang et al. 2023) meets it but leaves the other columns behind: legs step
    too slowly for their speed. So the noisy window moves too, by the smallest change after which, to first order, the
    network's own answer has that mean: a Gauss-Newton step, which needs no rate.

    Attributes:
        column: which one. value: its mean, normalised ``(batch or 1,)``.
    """

    column: int
    value: Tensor

    def _gap(self, clean: Tensor, valid: Valid) -> Tensor:
        """What the mean of each window lacks, ``(batch,)``."""
        values = clean[..., self.column]
        keep = torch.ones_like(values) if valid is None else valid.to(values)
        return self.value - (values * keep).sum(1) / keep.sum(1)

    def approach(self, clean_of: Clean, x: Tensor, options: SamplingOptions, valid: Valid) -> Tensor:
        """``x`` ``(batch, frames, features)`` after ``guide_steps`` Gauss-Newton steps at one timestep."""
        for _ in range(options.guide_steps):
            gap, gradient = _slope(lambda clean: self._gap(clean, valid), clean_of, x)
            size = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
            longest = STRIDE * gradient[0].numel() ** 0.5
            move = (-gap / size).clamp(-longest, longest)
            x = x + (move / size)[:, None, None] * gradient
        return x

    def impose(self, clean: Tensor, valid: Valid) -> Tensor:
        """``clean`` ``(batch, frames, features)`` with the column shifted to its mean."""
        shifted = clean.clone()
        shifted[..., self.column] += self._gap(clean, valid)[:, None]
        return shifted


def _slope(measure: Callable[[Tensor], Tensor], clean_of: Clean, x: Tensor) -> tuple[Tensor, Tensor]:
    """``measure`` of the clean states of ``x``, and its sum's gradient at ``x``."""
    with torch.enable_grad():
        inside = x.detach().requires_grad_(True)
        value = measure(clean_of(inside))
        (gradient,) = torch.autograd.grad(value.sum(), inside)
    return value.detach(), gradient


def ddim(
    network: Network,
    diffusion: Diffusion,
    x: Tensor,
    options: SamplingOptions,
    *,
    steps: int | None = None,
    known: Known | None = None,
    noises: Noises | None = None,
    guidance: ColumnGuidance | WindowMean | None = None,
    valid: Valid = None,
    variant: str = "default",
    restore: bool = True,
) -> Tensor:
    """Deterministic sampling (Song et al. 2021), from noise ``x`` ``(batch, frames, features)`` to clean states.

    Args:
        network: ``(x, time)`` to the model's answer.
        options: number of steps (unless ``steps`` says it), and when and how hard guidance acts.
        known: values that are put back, noised, after every step, and exactly at the end.
        noises: noise for the known values, one tensor per step but the last; needed with ``known``.
        guidance: columns to pull, or to meet a mean.
        valid: True at frames that count ``(batch, frames)``, for means over the window.
        variant: ``upstream`` takes every answer for clean states, also one that predicts noise.
        restore: put the known values back exactly at the end; the authors' unguided sampler does not.
    """

    def clean_of(states: Tensor) -> Tensor:
        return diffusion.to_clean(network(states, time), states, time)

    times = diffusion.ddim_times(options.steps if steps is None else steps)
    for now, after in itertools.pairwise(times):
        time = torch.full((len(x),), now, device=x.device)
        guide = guidance if options.guide_to <= now <= options.guide_from else None
        if guide is not None:
            x = guide.approach(clean_of, x, options, valid)
        with torch.no_grad():
            answer = network(x, time)
            clean = answer if variant == "upstream" else diffusion.to_clean(answer, x, time)
            clean = clean if guide is None else guide.impose(clean, valid)
            x = diffusion.ddim(clean, x, now, after)
            if known is not None and after >= 0:
                x = known.noised(diffusion, x, noises, after)
    return known.put(x, known.value) if known is not None and restore else x
