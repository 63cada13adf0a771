"""Do the forces of a gait window belong to its motion?"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hmu.checks import require
from hmu.gait import columns
from hmu.gait.columns import FPS
from hmu.gait.figure import NAMES as POINTS
from hmu.gait.figure import gait_stick_figure
from hmu.gait.statistics import GRAVITY, loads
from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value
from hmu.values import Positive

SMOOTHED = 9  # frames over which velocities are averaged before they are differentiated: 11 Hz at 100 Hz
STANDING = 0.3  # body weights: a foot that carries more should not move


class GaitConsistency(MotionMetric):
    """``load_error``, ``force_motion_error``, ``foot_slide``: all 0 in a perfect recording of a rigid body.

    * ``load_error``: distance of the mean vertical force from one body weight, in body weights (impulse = body weight
      x time in steady gait).
    * ``force_motion_error``: root mean square over frames of ``F / m - g - a``, in body weights, with ``a`` the
      vertical acceleration of the pelvis: Newton's second law with the pelvis for the centre of mass.
    * ``foot_slide``: mean horizontal speed (m/s) of feet that carry more than :data:`STANDING`.

    ``height``: metres of the body whose speeds these are.
    """

    inputs: ClassVar[tuple[str, ...]] = ("states",)
    values: ClassVar[tuple[Value, ...]] = tuple(
        Value(name, better="lower", kind="size") for name in ("load_error", "force_motion_error", "foot_slide")
    )

    def __init__(self, height: float) -> None:
        super().__init__()
        require("consistency.height", height, Positive)
        self.height = float(height)

    def per_prompt(self) -> dict[str, Tensor]:
        """All three of every window ``(n,)``."""
        return consistency(self.needed("states"), self.height)


def consistency(states: Tensor, height: float) -> dict[str, Tensor]:
    """The three errors of windows ``(n, frames, 63)`` in real units, each ``(n,)``."""
    force = loads(states).sum(-1)
    rise = states[..., columns.ROOT_COLUMNS[1]] * height
    smooth = torch.nn.functional.avg_pool1d(rise[:, None], SMOOTHED, stride=1)[:, 0]
    acceleration = (smooth[:, 2:] - smooth[:, :-2]) * FPS / 2
    edge = SMOOTHED // 2 + 1
    rest = force[:, edge:-edge] - 1 - acceleration / GRAVITY
    return {
        "load_error": (force.mean(-1) - 1).abs(),
        "force_motion_error": rest.square().mean(-1).sqrt(),
        "foot_slide": foot_slide(states, height),
    }


def foot_slide(states: Tensor, height: float) -> Tensor:
    """Mean horizontal speed ``(n,)`` in m/s of feet that carry weight; NaN where none does."""
    joints = gait_stick_figure(states, height).positions
    speed = (_feet(joints).diff(dim=1) * FPS)[..., [0, 2]].norm(dim=-1)
    return torch.where(_standing(states), speed, torch.nan).flatten(1).nanmean(-1)


def stance_speed(states: Tensor, height: float) -> Tensor:
    """Speed ``(n,)`` in m/s at which standing feet go back under the pelvis: what the legs say the body's speed is.

    The root columns of a window may claim any speed; this one is made by its joint angles. NaN where no foot stands.
    """
    joints = gait_stick_figure(states, height).positions
    back = (joints[..., :1, 0] - _feet(joints)[..., 0]).diff(dim=1) * FPS
    return torch.where(_standing(states), back, torch.nan).flatten(1).nanmean(-1)


def _feet(joints: Tensor) -> Tensor:
    """Middles of both feet ``(n, frames, 2, 3)``, metres, right then left."""
    ends = ("calcn", "mtp")
    return torch.stack([joints[..., [POINTS.index(f"{e}_{side}") for e in ends], :].mean(-2) for side in "rl"], -2)


def _standing(states: Tensor) -> Tensor:
    """Where a foot carries weight in two frames running, ``(n, frames - 1, 2)``."""
    return (loads(states)[:, 1:] > STANDING) & (loads(states)[:, :-1] > STANDING)
