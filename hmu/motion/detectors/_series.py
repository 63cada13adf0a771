"""Small vectorised tools for padded series ``(batch, frames, ...)``: smoothing, runs, swings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hmu.motion.kinematics import extended, hold

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def smooth(values: Array, lengths: Ints, sigma: float) -> Array:
    """Gaussian (``sigma`` frames; 0 = none) along axis 1 of ``(batch, frames, ...)``; keeps slopes at clips' ends."""
    reach = int(np.ceil(3 * sigma))
    if reach == 0:
        return values.copy()
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    frames = values.shape[1]
    wide = extended(values, lengths, reach)
    out = np.zeros_like(values)
    for k, weight in enumerate(taps):
        out += weight * wide[:, k : k + frames]
    return hold(out, lengths)


def quantile(values: Array, mask: Bools, q: float) -> Array:
    """The ``q``-quantile (lower sample) of each clip's masked frames, ``(batch, frames)`` -> ``(batch,)``."""
    ordered = np.sort(np.where(mask, values, np.inf), axis=1)
    index = np.floor(q * np.maximum(mask.sum(axis=1) - 1, 0)).astype(np.int64)
    return np.take_along_axis(ordered, index[:, None], axis=1)[:, 0]


def run_lengths(condition: Bools) -> Ints:
    """For each frame, for how many frames (this one included) ``condition`` has held without a gap."""
    steps = np.arange(condition.shape[1])[None, :]
    last = np.maximum.accumulate(np.where(condition, -1, steps), axis=1)
    return np.asarray(steps - last)


def longest(condition: Bools) -> Ints:
    """Frames of the longest unbroken run of ``condition`` in each clip, ``(batch,)``."""
    return np.asarray(run_lengths(condition).max(axis=1, initial=0))


def within(condition: Bools, before: int, after: int) -> Bools:
    """True at frame t where ``condition`` holds at some frame of ``[t - before, t + after]``."""
    padded = np.pad(condition, [(0, 0), (before, after)])
    count = np.cumsum(np.pad(padded, [(0, 0), (1, 0)]), axis=1)
    width = before + after + 1
    return np.asarray(count[:, width:] - count[:, :-width] > 0)


def extreme(values: Array, before: int, after: int, largest: bool) -> Array:
    """Largest (or smallest) value ``(batch, frames)`` of each window ``[t - before, t + after]``, edges cut off."""
    padded = np.pad(values, [(0, 0), (before, after)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, before + after + 1, axis=1)
    return np.asarray(windows.max(axis=-1) if largest else windows.min(axis=-1))


def detrend(values: Array, half: int) -> Array:
    """``values`` ``(batch, frames)`` minus the mean of the window ``[t - half, t + half]`` (ends repeated)."""
    padded = np.pad(values, [(0, 0), (half, half)], mode="edge")
    total = np.cumsum(np.pad(padded, [(0, 0), (1, 0)]), axis=1)
    width = 2 * half + 1
    return np.asarray(values - (total[:, width:] - total[:, :-width]) / width)


def swing_flips(values: Array, gate: Bools, amplitude: float) -> Bools:
    """Frames ``(batch, frames)`` where a gated series changes over between beyond ``+amplitude`` and ``-amplitude``.

    A Schmitt trigger: small wobbles around zero never count, so noise below ``amplitude`` makes no flips. The memory is
    cleared wherever ``gate`` is False.
    """
    side = np.where(values > amplitude, 1, np.where(values < -amplitude, -1, 0))
    steps = np.arange(values.shape[1])[None, :]
    known = np.maximum.accumulate(np.where((side != 0) | ~gate, steps, 0), axis=1)
    state = np.take_along_axis(np.where(gate, side, 0), known, axis=1)
    before = np.concatenate([np.zeros_like(state[:, :1]), state[:, :-1]], axis=1)
    return np.asarray((state * before) < 0)


def busiest(events: Bools, window: int) -> Ints:
    """Most events in any window of that many frames, ``(batch,)``."""
    if events.shape[1] == 0:
        return np.zeros(events.shape[0], dtype=np.int64)
    count = np.cumsum(np.pad(events, [(0, 0), (window, 0)]), axis=1)
    earlier = np.pad(count, [(0, 0), (window, 0)])[:, : count.shape[1]]
    return np.asarray((count - earlier).max(axis=1))
