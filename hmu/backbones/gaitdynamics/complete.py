"""Filling unknown columns of whole recordings: kinematics known, forces generated, or the reverse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.model import GaitDynamics
from hmu.gait.columns import FEATURES
from hmu.gait.normaliser import HIGH

BATCH = 16  # windows per network evaluation
BEYOND, OFTEN = 1.5, 0.05  # times the training range; share of frames: see unseen


def unseen(model: GaitDynamics, states: Tensor, known: Sequence[int]) -> list[int]:
    """Those of the ``known`` columns of ``states`` ``(frames, 63)`` that lie where the model has never been.

    A column is unseen if it leaves :data:`BEYOND` times its range in training in more than :data:`OFTEN` of the frames.
    """
    device = model.normaliser.min_.device
    values = model.normaliser.normalise(states.to(device).float()).cpu()
    far = (values.abs() > BEYOND * HIGH).float().mean(0) > OFTEN
    return [column for column in known if bool(far[column])]


def complete(
    model: GaitDynamics,
    states: Tensor,
    known: Sequence[int],
    *,
    overlap: float = 0.5,
    hide_unseen: bool = True,
    generator: torch.Generator | None = None,
    steps: int | None = None,
) -> Tensor:
    """``states`` ``(frames, 63)`` in real units with every column that is not ``known`` generated.

    A recording longer than the model's window is cut into overlapping windows, the last one ending with it; where they
    overlap, their answers are blended with weights that fall towards a window's ends. Known columns come back as given.

    Args:
        states: one recording at 100 Hz; values of unknown columns are not read.
        overlap: share of a window that the next one covers again, 0 to below 1.
        hide_unseen: do not show the model known columns outside what it was trained on (:func:`unseen`): they would
            mislead it. They come back as given all the same.
        generator, steps: see :meth:`GaitDynamics.generate`.
    """
    window, frames = model.decoder.options.window, len(states)
    cuts = [(0, frames)]
    if frames > window:
        step = max(round(window * (1 - overlap)), 1)
        stops = [min(start + window, frames) for start in range(0, frames - window + step, step)]
        cuts = [(stop - window, stop) for stop in stops]
    length = cuts[0][1] - cuts[0][0]
    given = torch.zeros(FEATURES, dtype=torch.bool)
    given[list(known)] = True
    mask = given.clone()
    if hide_unseen:
        mask[unseen(model, states, known)] = False
    values = torch.stack([states[a:b] for a, b in cuts]) * mask
    ramp = torch.minimum(torch.arange(1, length + 1), torch.arange(length, 0, -1)).to(states.dtype)
    total, weight = torch.zeros_like(states), torch.zeros(frames, 1, dtype=states.dtype)
    for first in range(0, len(cuts), BATCH):
        chunk = values[first : first + BATCH]
        lengths = torch.full((len(chunk),), length)
        answers = model.generate(
            lengths, known=chunk.float(), mask=mask.expand_as(chunk), generator=generator, steps=steps
        ).to(states)
        for (a, b), answer in zip(cuts[first : first + BATCH], answers, strict=True):
            total[a:b] += answer * ramp[:, None]
            weight[a:b] += ramp[:, None]
    return torch.where(given, states, total / weight)
