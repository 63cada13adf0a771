"""Quantities of motion that need no learning: speed, energy, jerk, foot contact and foot skate.

All functions take joints ``(frames, 22, 3)`` or ``(batch, frames, 22, 3)`` in metres, Y up, numpy or torch, with the
true ``lengths`` of the clips (``None`` = all frames), and return float64 numpy arrays. Padding never counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

FEET = ((7, 10), (8, 11))  #: ankle and toe joint of the left and of the right foot
CONTACT_HEIGHT = 0.05  #: metres above the clip's lowest foot joint: below, a foot is at the floor
SKATE_SPEED = 0.5  #: m/s (2.5 cm a frame at 20 fps): a foot at the floor that slides faster skates


def as_arrays(joints: Any, lengths: Any = None) -> tuple[Array, NDArray[np.int64]]:
    """Check and widen joints.

    Args:
        joints: ``(frames, 22, 3)`` or ``(batch, frames, 22, 3)``, metres, y up; numpy or torch.
        lengths: true frames per clip ``(batch,)``; ``None`` = all frames of every clip count.

    Returns:
        joints ``(batch, frames, 22, 3)`` float64 whose padding repeats the last true frame, and lengths ``(batch,)``.

    Raises:
        DataError: wrong shape, a length out of range, a NaN or infinity inside a clip.
    """
    points = np.asarray(joints.detach().cpu() if hasattr(joints, "detach") else joints, dtype=np.float64)
    points = points[None] if points.ndim == 3 else points
    if points.ndim != 4 or points.shape[2:] != (22, 3):
        raise DataError(
            f"joints have shape {tuple(points.shape)}: expected (frames, 22, 3) or (batch, frames, 22, 3), in metres"
        )
    batch, frames = points.shape[:2]
    if lengths is None:
        counts = np.full(batch, frames, dtype=np.int64)
    else:
        raw = lengths.detach().cpu() if hasattr(lengths, "detach") else lengths
        counts = np.atleast_1d(np.asarray(raw)).astype(np.int64)
    if counts.shape != (batch,) or (batch and (counts.min() < 1 or counts.max() > frames)):
        raise DataError(f"lengths must be {batch} numbers between 1 and {frames}, one per clip; got {counts.tolist()}")
    points = hold(points, counts)
    bad = ~np.isfinite(points).all(axis=(1, 2, 3))
    if bad.any():
        raise DataError(f"clip {int(np.flatnonzero(bad)[0])} of the batch holds NaN or infinite joint positions")
    return points, counts


def extended(values: Array, lengths: Ints, reach: int) -> Array:
    """``values`` ``(batch, frames, ...)`` with ``reach`` more frames at both ends, clips continued by point reflection.

    A clip that ends in full swing keeps its speed up to its last frame, which repeating the end value would halve.
    """
    position = np.arange(-reach, values.shape[1] + reach)[None, :]
    last = lengths[:, None] - 1
    source = np.clip(
        np.where(position < 0, -position, np.where(position > last, 2 * last - position, position)), 0, last
    )
    pivot = np.where(position < 0, 0, last) + np.zeros_like(source)
    out = _frames(values, source)
    clip, frame = np.nonzero((position < 0) | (position > last))
    out[clip, frame] = 2 * values[clip, pivot[clip, frame]] - out[clip, frame]
    return out


def hold(values: Array, lengths: Ints) -> Array:
    """``values`` ``(batch, frames, ...)`` whose padding repeats each clip's last true frame."""
    return _frames(values, np.minimum(np.arange(values.shape[1])[None, :], lengths[:, None] - 1))


def _frames(values: Array, index: Ints) -> Array:
    """Frames ``index`` ``(batch, n)`` of each clip: whole frames are copied, which is far quicker than by element."""
    return np.asarray(values[np.arange(len(values))[:, None], index])


def velocity(values: Array, lengths: Ints, fps: float) -> Array:
    """Central difference over frames, per second, ``(batch, frames, ...)``; one-sided at both ends of each clip."""
    wide = extended(values, lengths, 1)
    return hold((wide[:, 2:] - wide[:, :-2]) * (fps / 2.0), lengths)


def frame_mask(lengths: Ints, frames: int) -> Bools:
    """True inside each clip, ``(batch, frames)``."""
    return np.asarray(np.arange(frames)[None, :] < lengths[:, None])


def _mean(values: Array, lengths: Ints) -> Array:
    """Mean over each clip's true frames, ``(batch, frames)`` -> ``(batch,)``."""
    return np.asarray((values * frame_mask(lengths, values.shape[1])).sum(axis=1) / lengths)


def energy(joints: Any, lengths: Any = None, fps: float = 20.0) -> Array:
    """Mean kinetic energy per kilogram with the mass spread evenly over the joints, ``(batch,)``, J/kg."""
    points, counts = as_arrays(joints, lengths)
    return _mean(0.5 * (velocity(points, counts, fps) ** 2).sum(axis=-1).mean(axis=-1), counts)


def jerk(joints: Any, lengths: Any = None, fps: float = 20.0) -> Array:
    """Mean size of the joints' third time derivative (finite differences), ``(batch,)``, m/s^3.

    Lower is smoother; a clip of fewer than four frames has none (0).
    """
    points, counts = as_arrays(joints, lengths)
    if points.shape[1] < 4:
        return np.zeros(len(counts))
    third = np.linalg.norm(np.diff(points, n=3, axis=1) * fps**3, axis=-1).mean(axis=-1)
    valid = np.maximum(counts - 3, 0)
    total = (third * frame_mask(valid, third.shape[1])).sum(axis=1)
    return np.asarray(total / np.maximum(valid, 1))


def _feet(joints: Any, lengths: Any, fps: float) -> tuple[Bools, Array, Bools]:
    """Per foot and joint (ankle, toe): is it low, its horizontal speed, ``(batch, frames, 2, 2)``; and the mask."""
    points, counts = as_arrays(joints, lengths)
    height = points[:, :, FEET, 1]  # (batch, frames, 2 feet, ankle and toe)
    low = height - height.min(axis=(1, 2))[:, None, None] < CONTACT_HEIGHT  # ankles and toes rest at different heights
    speed = np.linalg.norm(velocity(points[..., [0, 2]], counts, fps), axis=-1)[:, :, FEET]
    return low, speed, frame_mask(counts, points.shape[1])


def contacts(joints: Any, lengths: Any = None, fps: float = 20.0) -> Bools:
    """Where each foot stands, bool ``(batch, frames, 2)`` (left, right), False in the padding.

    A foot stands while its ankle or its toe is less than ``CONTACT_HEIGHT`` above its
    kind's lowest height in the clip and is slower than ``SKATE_SPEED``: a foot that rolls over its toe still stands.
    """
    low, speed, mask = _feet(joints, lengths, fps)
    return np.asarray((low & (speed < SKATE_SPEED)).any(axis=-1) & mask[:, :, None])


def contact_share(joints: Any, lengths: Any = None, fps: float = 20.0) -> Array:
    """Share of frames in which each foot stands (see ``contacts``), ``(batch, 2)``."""
    _, counts = as_arrays(joints, lengths)
    return np.asarray(contacts(joints, lengths, fps).sum(axis=1) / counts[:, None])


def foot_skate(joints: Any, lengths: Any = None, fps: float = 20.0) -> Array:
    """Share of frames in which a foot slides along the floor, ``(batch,)``.

    After the foot-skating ratio of Karunratanakul et al., Guided Motion Diffusion (2023), with its 5 cm and 2.5 cm a
    frame; but here ankle *and* toe must both be low (each against its own lowest height in the clip) and both fast,
    because a real swinging foot passes the floor closely with a raised heel, and a rolling one moves its heel.
    """
    low, speed, mask = _feet(joints, lengths, fps)
    slides = (low & (speed > SKATE_SPEED)).all(axis=-1).any(axis=-1) & mask
    return np.asarray(slides.sum(axis=1) / mask.sum(axis=1))
