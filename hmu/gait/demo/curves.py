"""Joint angles over one gait cycle, as periodic curves through a few knots.

Knots are rounded values after textbook curves (Winter 2009 for walking, Novacheck 1998 for running), in degrees; phase
0 is the foot's strike. Styles change them the way clinicians describe: crouch never straightens the knee; a stiff knee
does not bend in swing and the leg swings out instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

HARMONICS = 5
Array = NDArray[np.float64]
Knots = tuple[tuple[float, ...], tuple[float, ...]]

#: phases of the knots: of the hip and of the leg below it in walking, of all three joints in running
_HIP = (0.0, 0.08, 0.16, 0.24, 0.32, 0.40, 0.48, 0.54, 0.62, 0.70, 0.78, 0.86, 0.94)
_LEG = (0.0, 0.07, 0.14, 0.22, 0.30, 0.38, 0.46, 0.54, 0.62, 0.70, 0.78, 0.86, 0.94)
_RUN = (0.0, 0.08, 0.16, 0.24, 0.32, 0.40, 0.48, 0.56, 0.64, 0.72, 0.80, 0.88, 0.95)

WALK: dict[str, Knots] = {
    "hip": (_HIP, (29, 26, 20, 12, 4, -3, -9, -10, -3, 11, 23, 31, 31)),
    "knee": (_LEG, (5, 13, 17, 14, 9, 6, 7, 17, 38, 59, 56, 31, 6)),
    "ankle": (_LEG, (0, -4, 0, 4, 7, 9, 10, 3, -13, -9, -2, 1, 1)),
}
RUN: dict[str, Knots] = {
    "hip": (_RUN, (34, 31, 23, 10, -3, -7, 1, 16, 31, 42, 46, 42, 37)),
    "knee": (_RUN, (17, 34, 41, 35, 24, 28, 54, 83, 97, 91, 66, 32, 15)),
    "ankle": (_RUN, (7, 16, 22, 13, -10, -22, -14, -5, 1, 4, 6, 7, 7)),
}


@dataclass(frozen=True)
class Style:
    """One way to walk.

    Attributes:
        name: the label of its trials. speeds: slowest and fastest, m/s. stride: strides per second at those speeds.
        stance: share of the cycle in which a foot carries weight. valley: depth between the two humps of the vertical
            force, 0 = one hump.
        base: curves in degrees. shift: degrees added to a joint's curve. scale: factor on its deviation from its mean.
        swing_out: degrees by which the hip abducts while that leg swings. hike: degrees by which the pelvis lifts it.
        lean: forward lean of the pelvis, degrees.
    """

    name: str
    speeds: tuple[float, float]
    stride: tuple[float, float]
    stance: float = 0.62
    valley: float = 0.3
    base: Mapping[str, Knots] = field(default_factory=lambda: WALK)
    shift: Mapping[str, float] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    swing_out: float = 0.0
    hike: float = 0.0
    lean: float = 0.0


STYLES: tuple[Style, ...] = (
    Style("walk", (0.7, 1.9), (0.72, 1.08), valley=0.36),
    Style(
        "crouch",
        (0.6, 1.3),
        (0.75, 1.0),
        stance=0.66,
        valley=0.12,
        shift={"hip": 17.0, "knee": 30.0, "ankle": 13.0},
        scale={"knee": 0.62, "ankle": 0.8},
        lean=6.0,
    ),
    Style(
        "stiff_knee",
        (0.5, 1.2),
        (0.68, 0.9),
        stance=0.65,
        valley=0.18,
        shift={"knee": -5.0},
        scale={"knee": 0.36, "ankle": 0.8},
        swing_out=9.0,
        hike=5.0,
    ),
    Style("run", (2.2, 3.6), (1.25, 1.5), stance=0.36, valley=0.0, base=RUN, lean=5.0),
)


def fourier(knots: Knots) -> tuple[float, Array]:
    """Mean and complex amplitudes ``(harmonics,)`` of the smoothest periodic curve near the knots, radians."""
    phase, degrees = (np.asarray(part, dtype=np.float64) for part in knots)
    orders = np.arange(1, HARMONICS + 1)
    angle = 2 * np.pi * phase[:, None] * orders
    basis = np.concatenate([np.ones((len(phase), 1)), np.cos(angle), np.sin(angle)], 1)
    solved = np.linalg.lstsq(basis, np.deg2rad(degrees), rcond=None)[0]
    return float(solved[0]), solved[1 : HARMONICS + 1] - 1j * solved[HARMONICS + 1 :]


def curve(mean: float, amplitudes: Array, phase: Array) -> Array:
    """Values at ``phase`` (cycles, any shape)."""
    orders = np.arange(1, len(amplitudes) + 1)
    turning = np.exp(2j * np.pi * phase[..., None] * orders)
    result: Array = mean + (amplitudes * turning).real.sum(-1)
    return result


def joint_curves(style: Style, severity: float) -> dict[str, tuple[float, Array]]:
    """Mean and amplitudes ``(harmonics,)`` by joint, radians; ``severity`` multiplies the style's shifts."""
    curves = {}
    for joint, knots in style.base.items():
        mean, amplitudes = fourier(knots)
        shift = severity * float(np.deg2rad(style.shift.get(joint, 0.0)))
        curves[joint] = (mean + shift, amplitudes * style.scale.get(joint, 1.0))
    return curves


def vertical_shape(progress: Array, valley: float) -> Array:
    """Vertical force over a stance, 0 at both ends and 1 on average; any shape; ``progress`` in 0..1 (0 outside)."""
    inside = (progress >= 0) & (progress <= 1)
    u = np.where(inside, progress, 0.0)
    shape = np.sin(np.pi * u) + valley * np.sin(3 * np.pi * u)
    mean = 2 / np.pi * (1 + valley / 3)
    result: Array = np.where(inside, shape / mean, 0.0)
    return result
