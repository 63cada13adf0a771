"""Zero-phase low-pass, spline slopes and resampling along the first axis, vectorised, without further packages."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError

Array = NDArray[np.float64]
ORDER = 4
PAD = 3 * (ORDER + 1)  # frames by which a signal is continued at both ends before it is filtered
_DECAY = 1e-18
_ROOT = np.sqrt(3.0) - 2.0  # of z^2 + 4 z + 1, the spline's recursion


@lru_cache(maxsize=64)
def _impulse(cutoff: float, fps: float, length: int) -> Array:
    """Impulse response ``(length,)`` of a digital Butterworth low-pass of fourth order (bilinear transform)."""
    warped = 2 * fps * np.tan(np.pi * cutoff / fps)
    angles = np.pi * (2 * np.arange(1, ORDER + 1) + ORDER - 1) / (2 * ORDER)
    analog = warped * np.exp(1j * angles)
    poles = (2 * fps + analog) / (2 * fps - analog)
    down = np.poly(poles).real
    up = np.poly(-np.ones(ORDER))
    up = up * (down.sum() / up.sum())  # gain 1 for a constant
    response = np.zeros(length)
    history = np.zeros(ORDER)
    for n in range(length):  # once per cutoff and length, cached
        value = (up[n] if n <= ORDER else 0.0) - down[1:] @ history
        history = np.concatenate([[value], history[:-1]])
        response[n] = value
        if n > 4 * ORDER and np.abs(history).max() < _DECAY:
            break
    response.setflags(write=False)
    return response


def _convolve(x: Array, kernel: Array) -> Array:
    """The first ``len(x)`` frames of the convolution of ``x`` ``(frames, columns)`` with ``kernel``."""
    size = 1 << int(np.ceil(np.log2(len(x) + len(kernel))))
    spectrum = np.fft.rfft(x, size, axis=0) * np.fft.rfft(kernel, size)[:, None]
    result: Array = np.fft.irfft(spectrum, size, axis=0)[: len(x)]
    return result


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
    flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    longer = np.concatenate([2 * flat[0] - flat[PAD:0:-1], flat, 2 * flat[-1] - flat[-2 : -PAD - 2 : -1]])
    kernel = _impulse(float(cutoff), float(fps), len(longer))
    for _ in range(2):
        # settled on its first value = the filter of the rest, which starts at 0; then the other direction
        longer = (longer[0] + _convolve(longer - longer[0], kernel))[::-1]
    return np.ascontiguousarray(longer[PAD:-PAD]).reshape(np.shape(x))


def slope(x: NDArray) -> Array:
    """Slopes per frame ``(frames, ...)`` of the interpolating cubic spline through ``x`` ("not a knot" at the ends).

    Inside, slopes ``s`` obey ``s[i-1] + 4 s[i] + s[i+1] = 3 (x[i+1] - x[i-1])``; the particular solution is one
    convolution, and the two equations at the ends fix two decaying corrections.

    Raises:
        DataError: for fewer than 5 frames.
    """
    if len(x) < 5:
        raise DataError(f"cannot differentiate {len(x)} frames: 5 are needed")
    y = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    n = len(y)
    right = np.zeros_like(y)
    right[1:-1] = 3 * (y[2:] - y[:-2])
    reach = min(n, 64)
    kernel = _ROOT ** np.abs(np.arange(-reach, reach + 1)) / (4 + 2 * _ROOT)
    size = 1 << int(np.ceil(np.log2(n + len(kernel))))
    spectrum = np.fft.rfft(right, size, axis=0) * np.fft.rfft(kernel, size)[:, None]
    inner = np.fft.irfft(spectrum, size, axis=0)[reach : reach + n]
    decay = _ROOT ** np.arange(n, dtype=np.float64)
    basis = np.stack([decay, decay[::-1]], 1)

    def ends(s: Array) -> Array:  # third derivatives agree across the second and the last but one point
        return np.stack([s[0] - s[2], s[-3] - s[-1]])

    wanted = np.stack([2 * (2 * y[1] - y[0] - y[2]), 2 * (2 * y[-2] - y[-3] - y[-1])])
    correction = np.linalg.solve(ends(basis), wanted - ends(inner))
    return (inner + basis @ correction).reshape(np.shape(x))


def resample(x: NDArray, fps: float, target: float, variant: str = "default") -> Array:
    """``x`` ``(frames, ...)`` linearly interpolated from ``fps`` to ``target``, from its first frame on.

    ``upstream`` never keeps the last frame, also where it falls on the new grid.
    """
    flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    if variant == "upstream":
        place = np.arange(0, 1, fps / target / (len(x) - 1)) * (len(x) - 1)
    else:
        place = np.arange(int(np.floor((len(x) - 1) * target / fps + 1e-9)) + 1) * (fps / target)
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
