"""Zero-phase low-pass, spline slopes, resampling and gaps along the first axis, all columns at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

from hmu.errors import DataError

Array = NDArray[np.float64]
ORDER = 4
PAD = 3 * (ORDER + 1)  # frames by which a signal is continued at both ends before it is filtered


def lowpass(x: NDArray, cutoff: float, fps: float) -> Array:
    """``x`` ``(frames, ...)`` without what is faster than ``cutoff`` (Hz): Butterworth of order 4, forth and back.

    The signal is continued at both ends by its point reflection, and the filter starts settled on the first value.

    Raises:
        DataError: for fewer than 16 frames, or a cutoff that is not below half of ``fps``.
    """
    if len(x) <= PAD or not 0 < cutoff < fps / 2:
        raise DataError(
            f"cannot low-pass {len(x)} frames at {fps:g} Hz with {cutoff:g} Hz: more frames or a lower cutoff"
        )
    sections = butter(ORDER, cutoff, fs=fps, output="sos")
    smooth: Array = sosfiltfilt(sections, np.asarray(x, dtype=np.float64), axis=0, padlen=PAD)
    return np.ascontiguousarray(smooth)


def slope(x: NDArray) -> Array:
    """Slopes per frame ``(frames, ...)`` of the interpolating cubic spline through ``x`` ("not a knot" at the ends).

    Raises:
        DataError: for fewer than 5 frames.
    """
    if len(x) < 5:
        raise DataError(f"cannot differentiate {len(x)} frames: 5 are needed")
    frames = np.arange(len(x), dtype=np.float64)
    slopes: Array = CubicSpline(frames, np.asarray(x, dtype=np.float64), axis=0)(frames, 1)
    return slopes


def resample(x: NDArray, fps: float, target: float) -> Array:
    """``x`` ``(frames, ...)`` linearly interpolated from ``fps`` to ``target``, from its first frame on."""
    return interpolated(x, np.arange(int(np.floor((len(x) - 1) * target / fps + 1e-9)) + 1) * (fps / target))


def interpolated(x: NDArray, place: NDArray) -> Array:
    """``x`` ``(frames, ...)`` at the places ``(n,)`` between its frames ``(n, ...)``."""
    flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    low = np.minimum(place.astype(np.int64), max(len(x) - 2, 0))
    share = (place - low)[:, None]
    high = np.minimum(low + 1, len(x) - 1)
    result: Array = flat[low] * (1 - share) + flat[high] * share
    return result.reshape(len(place), *np.shape(x)[1:])


def fill_gaps(x: NDArray) -> Array:
    """``x`` ``(frames, columns)`` with NaN replaced by linear interpolation in time, the nearest value at the ends.

    A column without any value becomes 0.
    """
    result = np.array(x, dtype=np.float64)
    frames = np.arange(len(result))
    for column in range(result.shape[1]):
        good = np.isfinite(result[:, column])
        if not good.all():
            result[:, column] = np.interp(frames, frames[good], result[good, column]) if good.any() else 0.0
    return result
