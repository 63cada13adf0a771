"""The unlearning losses that the SALAD fork computes, as it runs (``variant: upstream``), its faults included.

Differences from :mod:`hmu.methods.esd` and :mod:`hmu.methods.lora`: means run over padding; both compare a velocity
model's output with *noise*; LoRA noises with linear betas instead of the model's schedule and gives the network no
length mask; ESD has no ``eta``. Kept to reproduce figures, not to be used otherwise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone, State, Target
from hmu.backbones.draws import Draws
from hmu.data.batch import length_mask
from hmu.methods.base import Side
from hmu.methods.teacher import Teacher


def fits(backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
    """None if ``backbone`` has a latent posterior and an explicit diffusion process, else why it cannot do this."""
    if isinstance(backbone, MotionBackbone) and not hasattr(backbone, "diffusion"):
        return f"variant=upstream reproduces the SALAD fork, and {backbone.name} has no diffusion process of that kind"
    return None


def draw(target: Target, process: Any, generator: torch.Generator | None) -> tuple[State, Tensor]:
    """A training state ``(batch, frames', ...)`` with nothing masked in it, and its noise.

    The latent is sampled from the cached posterior, which is zero beyond each clip's length; the fork has encoded its
    zero padding there.
    """
    mean, logvar = target.tensors["mean"], target.tensors["logvar"]
    draws = Draws(generator)
    spread, noise = (draws.normal(tuple(mean.shape), mean) for _ in range(2))
    time = draws.integers(process.timesteps, (len(target),), mean.device)
    return noised(process, mean + (logvar / 2).exp() * spread, noise, time), noise


def noised(process: Any, latent: Tensor, noise: Tensor, time: Tensor) -> State:
    """``x_t`` ``(batch, frames', ...)`` with its true target of that shape, every position valid."""
    valid = torch.ones(latent.shape[:2], dtype=torch.bool, device=latent.device)
    return State(process.add(latent, noise, time), time, process.target(latent, noise, time), valid)


def square(output: Tensor, target: Tensor) -> Tensor:
    """Mean square over every element ``(batch, frames', ...)``, padding included."""
    return (output - target).square().mean()


def contrast(retain: tuple[Tensor, Tensor], forget: tuple[Tensor, Tensor], weight: float) -> dict[str, Tensor]:
    """``MSE(retain) - weight MSE(forget)``; each side is ``(output, target)``."""
    retained, forgotten = square(*retain), square(*forget)
    return {"loss": retained - weight * forgotten, "retain": retained.detach(), "forget": forgotten.detach()}


def neutralise(prediction: Tensor, null: Tensor, retain: tuple[Tensor, Tensor], weight: float) -> dict[str, Tensor]:
    """``MSE(out(x_t, c), out0(x_t, empty)) + weight MSE(out(x_t', c'), target)``."""
    erase, preserve = square(prediction, null), square(*retain)
    return {"loss": erase + weight * preserve, "erase": erase.detach(), "preserve": preserve.detach()}


def contrastive_loss(
    backbone: MotionBackbone, forget: Side, retain: Side, generator: torch.Generator | None, weight: float
) -> dict[str, Tensor]:
    """The fork's LoRA loss of one step, scalars: :func:`contrast` against noise, under linear betas."""
    own: Any = backbone.diffusion
    process = type(own)(dataclasses.replace(own.options, beta_schedule="linear"))
    pairs = []
    for side in (retain, forget):
        state, noise = draw(side.target, process, generator)
        pairs.append((backbone.predict(state, side.condition), noise))
    return contrast(pairs[0], pairs[1], weight)


def erasing_loss(
    teacher: Teacher,
    backbone: MotionBackbone,
    forget: Side,
    retain: Side,
    generator: torch.Generator | None,
    weight: float,
) -> dict[str, Tensor]:
    """The fork's erasing loss of one step, scalars: :func:`neutralise`.

    Its network is given the length mask, its means run over padding.
    """
    noisy, _ = draw(forget.target, backbone.diffusion, generator)
    state, noise = draw(retain.target, backbone.diffusion, generator)
    prompts = teacher.null.expand(len(forget))
    with torch.no_grad():
        null = masked_output(teacher.backbone, noisy, forget.target.lengths, prompts)
    forget_output = masked_output(backbone, noisy, forget.target.lengths, forget.condition)
    retain_output = masked_output(backbone, state, retain.target.lengths, retain.condition)
    return neutralise(forget_output, null, (retain_output, noise), weight)


def masked_output(backbone: MotionBackbone, state: State, lengths: Tensor, condition: Any) -> Tensor:
    """The network's output ``(batch, ...)`` under a mask of ``lengths`` ``(batch,)`` in frames, padding not zeroed."""
    valid = length_mask(lengths // backbone.unit_length, state.inputs.shape[1])
    condition = condition.to(state.inputs.device)
    result: Tensor = backbone.network()(state.inputs, state.time, condition.tokens, condition.mask, valid)
    return result
