"""Numbers that describe gait windows, in torch over whole batches."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.gait import columns
from hmu.gait.columns import FPS

GRAVITY = 9.81
_VERTICAL = columns.states(["calcn_r_force_vy", "calcn_l_force_vy"])
_FORWARD_FORCE = columns.states(["calcn_r_force_vx", "calcn_l_force_vx"])
_KNEES = columns.states(["knee_angle_r", "knee_angle_l"])
CONTACT = 0.05  # body weights: a foot that carries more is on the ground
STRIKE, SMOOTHED, SWING, KNOWN = 0.15, 9, 15, 4  # body weights, then frames: see strikes
NAMES = ("speed", "cadence", "step_length", "knee_least", "knee_most", "peak_force", "peak_push", "load", "flight")


def loads(states: Tensor) -> Tensor:
    """Vertical force of both feet in body weights ``(..., frames, 2)`` of states ``(..., frames, 63)``, real units."""
    return states[..., _VERTICAL] / GRAVITY


def knees(states: Tensor) -> Tensor:
    """Flexion of both knees in degrees ``(..., frames, 2)``."""
    return torch.rad2deg(states[..., _KNEES])


def strikes(states: Tensor) -> Tensor:
    """True in the frame in which a foot first carries weight after a swing ``(..., frames, 2)``.

    A foot strikes when its load, averaged over :data:`SMOOTHED` frames, exceeds :data:`STRIKE` after it has not done so
    for :data:`SWING` frames: noise in a generated force near zero is no strike. Of a swing that began before the window
    :data:`KNOWN` frames are enough.
    """
    force = loads(states)
    shape = force.shape
    rows = force.movedim(-1, -2).reshape(-1, 1, shape[-2])
    edge = SMOOTHED // 2
    smooth = torch.nn.functional.avg_pool1d(rows, SMOOTHED, stride=1, padding=edge, count_include_pad=False)
    down = (smooth > STRIKE).to(rows.dtype)
    first = (down > 0) & ~_before(down, SWING, 0.0) & ~_before(down, KNOWN, 1.0)
    return first.reshape(*shape[:-2], shape[-1], shape[-2]).movedim(-1, -2)


def _before(down: Tensor, frames: int, unknown: float) -> Tensor:
    """Whether ``down`` ``(rows, 1, frames)`` was set in one of so many frames; before the window ``unknown``."""
    padded = torch.nn.functional.pad(down[..., :-1], (frames, 0), value=unknown)
    return torch.nn.functional.max_pool1d(padded, frames, stride=1) > 0


def statistics(states: Tensor, height: Tensor | float) -> dict[str, Tensor]:
    """Statistics of windows ``(batch, frames, 63)`` in real units, each ``(batch,)``.

    ``speed`` m/s; ``cadence`` steps per minute (from the time between strikes; NaN with fewer than two);
    ``step_length`` metres; ``knee_least``, ``knee_most``: 5 % and 95 % points of knee flexion over both knees, degrees;
    ``peak_force``, ``peak_push``: largest vertical and forward force of a foot in body weights; ``load``: mean total
    vertical force in body weights (impulse over body weight times time: 1 in steady gait); ``flight``: share of frames
    without ground contact.

    Args:
        height: metres, one or ``(batch,)``.
    """
    tall = torch.as_tensor(height, dtype=states.dtype, device=states.device)
    speed = states[..., columns.ROOT_COLUMNS[0]].mean(-1) * tall
    steps = strikes(states).any(-1)
    frames = torch.arange(states.shape[-2], device=states.device).expand(steps.shape)
    last = torch.where(steps, frames, -1).amax(-1)
    first = torch.where(steps, frames, states.shape[-2]).amin(-1)
    count = steps.sum(-1) - 1
    gap = (last - first).clamp(min=1).to(states.dtype)
    cadence = torch.where(count >= 1, 60 * FPS * count / gap, torch.nan)
    bend = knees(states).flatten(-2)
    force = loads(states)
    whole = force.sum(-1)
    return {
        "speed": speed,
        "cadence": cadence,
        "step_length": 60 * speed / cadence,
        "knee_least": bend.quantile(0.05, dim=-1),
        "knee_most": bend.quantile(0.95, dim=-1),
        "peak_force": force.amax((-1, -2)),
        "peak_push": (states[..., _FORWARD_FORCE] / GRAVITY).amax((-1, -2)),
        "load": whole.mean(-1),
        "flight": (whole < CONTACT).to(states.dtype).mean(-1),
    }
