"""Which way is up in a BVH file, and how long is its unit: found from posed frames, since a file does not say it.

The OFFSETs alone do not tell: those of LAFAN1 all point along x though its motion is y up, and files exported z up may
keep a rest pose that stands along y. So the posed bodies of all clips of a skeleton are looked at together (one person
may lie, or stand on the hands); the rest pose, and the floor at zero, decide where these leave a doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.mapping import UP
from hmu.motion.rest_frame import body_size
from hmu.motion.skeleton import T2M

Array = NDArray[np.float64]
Direction = tuple[float, float, float]
UNITS = (1.0, 0.01, 0.001, 0.0254, 0.0254 / 0.45, 0.3048, 0.1)  # m, cm, mm, inch, CMU's, foot, dm
PERSON = (0.5, 2.6)  # metres that a body may measure
_WALKS = 0.85  # metres of a child of two; shorter ones are believed where no other unit makes an adult
_ADULT = (1.4, 2.1)  # metres that a unit must give to be chosen without being asked
_CLEAR, _UNLIKE = 0.7, 0.3  # mean share of an axis in the direction from feet to head: surely this one, surely not
_HEAD = T2M.index("head")
_ANKLES = [T2M.index("left_ankle"), T2M.index("right_ankle")]
_TOES = [T2M.index("left_foot"), T2M.index("right_foot")]
_HIPS = [T2M.index("left_hip"), T2M.index("right_hip")]
_CROWN = 1.15  # body height over its measured bones, from ankle to head joint


@dataclass(frozen=True)
class Posture:
    """What one clip tells, in the axes and the unit of its file.

    Attributes:
        up: mean direction from the feet to the head ``(3,)``; short where the body turns over.
        rest: the same for the rest pose; zeros where that is no standing person.
        floor: vertical axes (of :data:`hmu.motion.mapping.UP`) along which the body's lowest point stays near zero.
        height: height of the body from its bones, file units.
        mirrored: the toes point backwards, as in a file that left-handed axes have mirrored.
    """

    up: Direction
    rest: Direction
    floor: frozenset[str]
    height: float
    mirrored: bool


def posture(joints: ArrayLike, rest: ArrayLike) -> Posture:
    """Look at one clip: posed joints ``(frames, 22, 3)`` and the rest pose ``(22, 3)``, as the file has them."""
    world, still = np.asarray(joints, dtype=np.float64), np.asarray(rest, dtype=np.float64)
    size = body_size(world)
    axis = _upward(world)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    up = (axis / np.maximum(length, 1e-12)).mean(axis=0)
    resting = _upward(still[None])[0]
    stands = np.linalg.norm(resting) > 0.6 * size > 0
    standing = resting / np.linalg.norm(resting) if stands else np.zeros(3)
    left, right, toes = (world[:, _HIPS[0]], world[:, _HIPS[1]], (world[:, _TOES] - world[:, _ANKLES]).mean(axis=1))
    forward = (np.cross(left - right, axis) * toes).sum(axis=-1)
    floor = {name for name, ((_, _), (sign, k), _) in UP.items() if _on_zero((sign * world[..., k]).min(axis=1), size)}
    return Posture(tuple(up), tuple(standing), frozenset(floor), _CROWN * size, bool((forward < 0).mean() > 0.9))


def _upward(joints: Array) -> Array:
    """From the middle of the ankles to the head ``(frames, 3)``."""
    direction: Array = joints[:, _HEAD] - joints[:, _ANKLES].mean(axis=1)
    return direction


def _on_zero(lowest: Array, size: float) -> bool:
    """Whether the lowest points ``(frames,)`` of a clip are those of a body on a floor at zero."""
    low, high = np.percentile(lowest, (10, 60))
    return bool(-0.03 * size < low and high < 0.12 * size)


def upright_axis(bodies: Sequence[Posture], given: str) -> str | None:
    """The vertical axis of clips of one skeleton; None where it may be ``given`` or another, and nobody can tell.

    ``given`` is what the mapping says; kept unless the bodies clearly stand along another axis.
    """
    x, y, z = np.mean([body.up for body in bodies], axis=0).tolist()
    posed = _along((x, y, z), _CLEAR)
    if posed is None or posed == given or leaning((x, y, z), given) > _UNLIKE:
        return given
    on_posed, on_given = (np.mean([name in body.floor for body in bodies]) > 0.5 for name in (posed, given))
    if on_posed != on_given:  # one of them has the floor
        return posed if on_posed else given
    rest = [_along(body.rest, 0.9) for body in bodies]
    return posed if rest.count(posed) > len(rest) / 2 else None


def along(direction: Direction) -> str:
    """The vertical axis nearest to the direction from feet to head."""
    return max(UP, key=lambda name: leaning(direction, name))


def _along(direction: Direction, least: float) -> str | None:
    axis = along(direction)
    return axis if leaning(direction, axis) >= least else None


def leaning(direction: Direction, up: str) -> float:
    """Share of a vertical axis in the direction from feet to head: 1 upright, 0 lying, -1 upside down."""
    sign, axis = UP[up][1]
    return float(sign * direction[axis])


def metres_per_unit(height: float, given: float, *, fixed: bool = False) -> float:
    """``given`` where it makes a person of the height, else (if not ``fixed``) the one common unit that does."""
    fitting = [unit for unit in UNITS if not fixed and _ADULT[0] <= height * unit <= _ADULT[1]]
    surely = PERSON if len(fitting) != 1 else (_WALKS, PERSON[1])  # 67 units are an adult in inches, no baby of 67 cm
    if surely[0] <= height * given <= surely[1]:
        return given
    if len(fitting) == 1:
        return fitting[0]
    advice = f"unit={1.7 / height:.3g} would make it 1.7 m" if height > 0 else "its bones have no length"
    raise DataError(f"a body of {height * given:.3g} m ({height:.3g} units of {given:g} m) is no person; {advice}")
