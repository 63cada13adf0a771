"""Whether measured forces can carry the person: the mean vertical force of gait is body weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hmu.gait.filters import Array
from hmu.gait.plates import Plate
from hmu.gait.statistics import GRAVITY

#: body weights, on average while a plate feels anything: from slow walking with a rail to sprinting
CONTACT_SHARE = (0.55, 2.3)
#: body weights, on average over frames in which every standing foot is on a plate
WHOLE_SHARE = (0.6, 1.6)
ENOUGH = 0.8  # seconds of such frames
POUND, POUND_FORCE = 0.45359237, 4.4482216  # kg, N
_NOTHING = 1e-6  # N


def weigh_plates(plates: Sequence[Plate], mass: float) -> str | None:
    """What is wrong with the forces of all plates together, with the likely reason; None if they carry ``mass`` (kg).

    Only frames in which anything is felt count, whatever its unit, sign and axis.
    """
    total = np.sum([plate.force for plate in plates], axis=0)
    felt = np.linalg.norm(total, axis=1)
    if felt.max() < _NOTHING:
        return "all forces are zero; for the kinematics alone say forces=null"
    touched = felt[felt > 0.02 * felt.max()]
    mean = total[felt > 0.2 * np.percentile(touched, 75)].mean(0)
    if CONTACT_SHARE[0] <= mean[1] / (mass * GRAVITY) <= CONTACT_SHARE[1]:
        return None
    return _said(float(mean[1]), mass, _reason(mean, mass))


def weigh_feet(forces: Array, missing: NDArray[np.bool_], mass: float, fps: float) -> str | None:
    """As :func:`weigh_plates`, of both feet ``(frames, 6)`` in newtons over the frames that are not ``missing``."""
    loads = forces[~missing][:, [1, 4]].sum(1)
    if len(loads) < ENOUGH * fps:
        return None
    mean = float(loads.mean())
    if WHOLE_SHARE[0] <= mean / (mass * GRAVITY) <= WHOLE_SHARE[1]:
        return None
    return _said(mean, mass, _reason(np.array([0.0, mean, 0.0]), mass))


def _said(mean: float, mass: float, reason: str) -> str:
    digits = 0 if abs(mean) >= 10 else 2
    return (
        f"the mean vertical force is {mean:.{digits}f} N, but {mass:g} kg weigh {mass * GRAVITY:.0f} N: {reason} "
        "(forces_check=false takes them as they are)"
    )


def _reason(mean: Array, mass: float) -> str:
    """The one fault that explains the mean force ``(3,)`` best: which would make it about one body weight."""
    weight = mass * GRAVITY
    x, y, z = (float(value) / weight for value in mean)
    reasons = {
        "is the sign turned? The ground pushes up, +y": -y,
        "is z up in this file? OpenSim's y is; turn the axes": abs(z),
        "is x up in this file? OpenSim's y is; turn the axes": abs(x),
        f"are these body weights? Multiply by {weight:.0f}": abs(y) * weight,
        f"are these divided by mass? Multiply by {mass:g}": abs(y) * mass,
        "are these kilograms? Multiply by 9.81": abs(y) * GRAVITY,
        "are these pounds? Multiply by 4.448": abs(y) * POUND_FORCE,
        f"is mass={mass:g} in pounds? That is {mass * POUND:.1f} kg": y / POUND,
    }
    fitting = {why: share for why, share in reasons.items() if CONTACT_SHARE[0] <= share <= CONTACT_SHARE[1]}
    if not fitting:
        return "are unit, sign, axis and mass right?"
    return min(fitting, key=lambda why: abs(np.log(fitting[why])))
