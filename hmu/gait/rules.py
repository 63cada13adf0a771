"""Kinematic rules that name the style of gait windows ``(batch, frames, 63)``; every threshold has a name.

They look at angles and forces alone, so that a generated window is judged without its label.
"""

from __future__ import annotations

from torch import Tensor

from hmu.gait.statistics import CONTACT, knees, loads

CROUCH_KNEE = 20.0  # degrees: a knee that is never straighter walks in crouch
STIFF_KNEE = 35.0  # degrees: a knee that never bends more is stiff (walking swings to about 60)
FLIGHT_SHARE = 0.05  # of the frames: more without ground contact is running
STRAIGHTEST, MOST_BENT = 0.05, 0.95  # points of the flexion's distribution that stand for its extremes


def run(states: Tensor) -> Tensor:
    """True ``(batch,)`` where both feet are off the ground in more than :data:`FLIGHT_SHARE` of the frames."""
    airborne = loads(states).sum(-1) < CONTACT
    return airborne.to(states.dtype).mean(-1) > FLIGHT_SHARE


def crouch(states: Tensor) -> Tensor:
    """True ``(batch,)`` where both knees stay bent by :data:`CROUCH_KNEE` at their straightest, in no run."""
    straightest = knees(states).quantile(STRAIGHTEST, dim=-2)
    return (straightest > CROUCH_KNEE).all(-1) & ~run(states)


def stiff_knee(states: Tensor) -> Tensor:
    """True ``(batch,)`` where a knee never bends beyond :data:`STIFF_KNEE`, in neither crouch nor run."""
    most = knees(states).quantile(MOST_BENT, dim=-2)
    return (most < STIFF_KNEE).any(-1) & ~crouch(states) & ~run(states)


def walk(states: Tensor) -> Tensor:
    """True ``(batch,)`` where none of the other rules applies."""
    return ~(run(states) | crouch(states) | stiff_knee(states))


RULES = {"walk": walk, "crouch": crouch, "stiff_knee": stiff_knee, "run": run}


def styles(states: Tensor) -> dict[str, Tensor]:
    """Every rule on windows ``(batch, frames, 63)`` in real units: exactly one is True for each ``(batch,)``."""
    return {name: rule(states) for name, rule in RULES.items()}
