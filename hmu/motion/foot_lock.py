"""Hold feet still while they stand: skating removed from joints, for animation (never before a metric).

The rule is the one that comes with the published BVH export of the HumanML3D generators: a foot joint is in contact
while it is slow and low; each stretch of contact is replaced by its mean position, and the frames around it blend over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError

Array = NDArray[np.float64]
STEP = (0.05, 0.2)  # squared displacement between frames below which an ankle, a toe stands (square metres)
HEIGHT = (0.06, 0.03)  # height below which an ankle, a toe can stand (metres)


def lock_feet(joints: ArrayLike, feet: Sequence[int], blend: int = 5, on_floor: bool = True) -> Array:
    """Joints without foot skating, floor at y = 0.

    Args:
        joints: ``(frames, J, 3)``, metres, y up, at least 2 frames.
        feet: ankle, toe, ankle, toe.
        blend: frames before and after a contact over which the foot moves into and out of it.
        on_floor: contacts touch y = 0; else they keep their mean height.

    Returns:
        ``(frames, J, 3)``; only the floor's height and the four foot joints change.

    Raises:
        DataError: for fewer than two frames, or not four foot joints.
    """
    out = np.array(joints, dtype=np.float64)
    if out.ndim != 3 or len(out) < 2 or len(feet) != 4:
        raise DataError(
            f"joints of shape {out.shape} and {len(feet)} feet: expected 2 or more frames and 4 foot joints"
        )
    standing = contacts(out[:, list(feet)])
    out[..., 1] -= floor_height(out[:, list(feet), 1])
    for column, joint in enumerate(feet):
        out[:, joint] = _hold(out[:, joint], standing[:, column], blend, on_floor)
    return out


def contacts(feet: Array) -> NDArray[np.bool_]:
    """Which feet ``(frames, 4, 3)`` stand, ``(frames, 4)``; the last frame repeats the one before."""
    step = np.sum(np.diff(feet, axis=0) ** 2, axis=-1)
    standing = (step < np.tile(STEP, 2)) & (feet[:-1, :, 1] < np.tile(HEIGHT, 2))
    return np.concatenate([standing, standing[-1:]])


def floor_height(heights: Array) -> float:
    """Mean of the second quarter of the sorted lowest foot heights of ``(frames, 4)``; 0 where that is above 0.5 m."""
    lowest = np.sort(heights.min(axis=1))
    middle = lowest[int(0.25 * len(lowest)) : int(0.5 * len(lowest))]
    height = float(middle.mean()) if len(middle) else float(lowest[0])
    return 0.0 if height > 0.5 else height


def _hold(path: Array, standing: NDArray[np.bool_], blend: int, on_floor: bool) -> Array:
    """One joint's path ``(frames, 3)`` with its contacts held and their surroundings blended."""
    frames = np.arange(len(path))
    run = np.cumsum(np.diff(standing, prepend=False) & standing)  # number of the stretch, from 1
    sums = np.zeros((int(run[-1]) + 1, 3))
    np.add.at(sums, run[standing], path[standing])
    means = sums / np.maximum(np.bincount(run[standing], minlength=len(sums)), 1)[:, None]
    if on_floor:
        means[:, 1] = 0.0
    locked = np.where(standing[:, None], means[run], path)
    before = np.maximum.accumulate(np.where(standing, frames, -len(path)))
    after = np.minimum.accumulate(np.where(standing, frames, 2 * len(path))[::-1])[::-1]
    since, until = frames - before, after - frames
    left, right = since <= blend, until <= blend
    from_left = _mix(_ease((since + 1) / (blend + 1)), locked, locked[np.where(left, before, 0)])
    to_right = _mix(_ease((until + 1) / (blend + 1)), locked, locked[np.where(right, after, 0)])
    between = _mix(_ease((since + 1) / (since + until + 1)), to_right, from_left)
    blended = np.select(
        [(left & right)[:, None], left[:, None], right[:, None]], [between, from_left, to_right], locked
    )
    return np.where(standing[:, None], locked, blended)


def _ease(t: Array) -> Array:
    """1 at 0, 0 at 1, flat at both ends."""
    return 2 * t**3 - 3 * t**2 + 1


def _mix(weight: Array, p: Array, q: Array) -> Array:
    return (1 - weight)[:, None] * p + weight[:, None] * q
