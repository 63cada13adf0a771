"""The training objective of GaitDynamics and its terms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import ObjectiveOptions
from hmu.gait import columns, states
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import Skeleton, forward

ELEMENTWISE = {"l2": F.mse_loss, "l1": F.l1_loss}
STANDING = 0.1  # m/s: a heel or toe that is slower stands
STILL = 0.3  # m/s^2: what the authors take for standing; hardly any frame of a walking foot is below it
FREE = len(columns.ROOT)  # columns after the root


def elementwise(options: ObjectiveOptions, prediction: Tensor, answer: Tensor) -> Tensor:
    """Squared (``l2``) or absolute (``l1``) differences, same shape."""
    return ELEMENTWISE[options.loss](prediction, answer, reduction="none")


def per_item(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of ``(batch, frames, ...)`` per item ``(batch,)`` over valid frames ``(batch, frames)``; None = all."""
    frames = values.flatten(2).mean(2)
    if valid is None:
        return frames.mean(1)
    return (frames * valid).sum(1) / valid.sum(1).clamp(min=1)


def weight_of(options: ObjectiveOptions, diffusion: Diffusion, time: Tensor, like: Tensor) -> Tensor:
    """The p2 weight of each item ``(batch,)``, 1 where it is off."""
    if not options.p2:
        return torch.ones(len(time), dtype=like.dtype, device=like.device)
    return diffusion.at("p2_loss_weight", time, like).flatten()


def column_terms(
    options: ObjectiveOptions, prediction: Tensor, answer: Tensor, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """``simple``, ``velocity`` and ``drift`` per item ``(batch,)``, of normalised states ``(batch, frames, 63)``."""
    both = None if valid is None else valid[:, 1:] & valid[:, :-1]
    difference = elementwise(options, prediction, answer)
    speed = elementwise(options, prediction[..., FREE:].diff(dim=1), answer[..., FREE:].diff(dim=1))
    return {
        "simple": per_item(difference, valid),
        "velocity": per_item(speed, both),
        "drift": per_item(difference[..., :FREE], valid),
    }


def body_terms(
    options: ObjectiveOptions,
    normaliser: MinMax,
    prediction: Tensor,
    answer: Tensor,
    height: Tensor,
    skeleton: Skeleton,
    *,
    variant: str = "default",
) -> dict[str, Tensor]:
    """``fk`` and ``slide`` per item ``(batch,)``, of normalised *states* ``(batch, frames, 63)``.

    ``height``: of the bodies, metres ``(batch,)``; ``skeleton``: frames ``(4, 4, 20)``, or ``(batch, 4, 4, 20)``.
    ``slide``: horizontal speed (m/s) of the predicted heels and toes in frames in which the true ones stand.
    ``upstream`` measures the true feet instead, by a mix-up of variables, so that its term has no gradient, and takes a
    foot to stand where its acceleration is below ``STILL``.
    """
    ours, theirs = (forward(states.to_osim(normaliser.denormalise(x), height), skeleton) for x in (prediction, answer))
    speed, true = (pose.feet.diff(dim=1) * columns.FPS for pose in (ours, theirs))
    if variant == "upstream":
        standing = (true.diff(dim=1) * columns.FPS).norm(dim=-1, keepdim=True) < STILL
        sliding = true[:, :-1] * standing
    else:
        sliding = speed[..., [0, 2]] * (true.norm(dim=-1, keepdim=True) < STANDING)
    return {
        "fk": per_item(elementwise(options, ours.joints, theirs.joints)),
        "slide": per_item(elementwise(options, sliding, torch.zeros_like(sliding))),
    }


def total(options: ObjectiveOptions, terms: dict[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    """Weighted batch means of the terms ``(batch,)`` that count, and their sum as ``loss``.

    A term with weight 0 is left out, so that nothing undefined in it can spoil the sum.
    """
    means = {name: (value * weight).mean() for name, value in terms.items() if getattr(options, name) > 0}
    return {"loss": torch.stack([getattr(options, name) * value for name, value in means.items()]).sum(), **means}
