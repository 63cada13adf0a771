"""Changing the frame rate: joint positions linearly, rotations by slerp; rates recovered from rounded frame times."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError, shown
from hmu.motion.rotations import slerp

Array = NDArray[np.float64]
_RATES = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 150, 180, 200, 240, 250, 300, 500, 1000)
_COMMON = tuple(Fraction(rate) for rate in _RATES)
_SHORTEST, _LONGEST = Decimal("0.0001"), Decimal(10)
_DIGITS = 40  # longer texts are read as floating-point numbers
_SINGLE = Fraction(1, 2**23)  # relative step of 32-bit numbers
_ADVICE = " (source_fps=… names the rate)"
_NTSC = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120))


def rate_from_frame_time(text: str) -> Fraction:
    """Frames per second of a printed frame time: ``0.0333333`` and ``0.033`` are 30, not 30.00003 or 30.3.

    The rate is the common one (else the whole one) whose period agrees with the text to its last printed digit, or to
    single precision (``0.03333333507180214`` is the 32-bit number nearest to 1/30); a time that fits none is taken as
    it is.

    Raises:
        DataError: if the text is no number between 0.0001 and 10 seconds.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise DataError(f"frame time '{shown(text, 40)}' is not a number{_ADVICE}") from None
    # compared as decimals: as a fraction, 1e-99999999 would have a hundred million digits
    if not value.is_finite() or not _SHORTEST <= value <= _LONGEST:
        raise DataError(f"frame time is '{shown(text, 40)}', expected {_SHORTEST} to {_LONGEST} seconds{_ADVICE}")
    if len(text) > _DIGITS:
        value = Decimal(float(value))
    time = Fraction(value)
    exponent = int(value.as_tuple().exponent)
    precision = Fraction(10) ** exponent
    whole = (Fraction(max(1, round(1 / time))),)
    for candidates in (_COMMON, _NTSC, whole):
        near = min(candidates, key=lambda rate: abs(1 / rate - time))
        # the second bound keeps very coarse texts ("0.1" is 10, "1" is 1) from matching a distant rate
        if abs(1 / near - time) < max(min(precision, time / 5), time * _SINGLE):
            return near
    return (1 / time).limit_denominator(10**6)


def resampled_length(frames: int, source_fps: Fraction | float, target_fps: Fraction | float) -> int:
    """``floor((frames - 1) * target / source) + 1``, computed exactly; 0 for an empty clip."""
    if frames <= 0:
        return 0
    return int((frames - 1) * exact_rate(target_fps) / exact_rate(source_fps)) + 1


def resample_positions(positions: ArrayLike, source_fps: Fraction | float, target_fps: Fraction | float) -> Array:
    """Linear interpolation along the first axis, ``(frames, ...)`` -> ``(resampled frames, ...)``."""
    data = np.asarray(positions, dtype=np.float64)
    low, high, weight = _neighbours(len(data), source_fps, target_fps)
    weight = weight.reshape(-1, *(1,) * (data.ndim - 1))
    return data[low] * (1.0 - weight) + data[high] * weight


def resample_rotations(quats: ArrayLike, source_fps: Fraction | float, target_fps: Fraction | float) -> Array:
    """Slerp along the first axis, ``(frames, ..., 4)`` -> ``(resampled frames, ..., 4)``."""
    data = np.asarray(quats, dtype=np.float64)
    low, high, weight = _neighbours(len(data), source_fps, target_fps)
    return slerp(data[low], data[high], weight.reshape(-1, *(1,) * (data.ndim - 1)))


def exact_rate(fps: Fraction | float) -> Fraction:
    """A frame rate as a fraction; DataError if it is none between 0.1 and 10,000 per second."""
    if not 0.1 <= fps <= 10_000:
        raise DataError(f"frame rates lie between 0.1 and 10,000 per second, got {shown(fps, 40)}")
    rate = fps if isinstance(fps, Fraction) else Fraction(fps).limit_denominator(1001)
    return rate


def _neighbours(
    frames: int, source_fps: Fraction | float, target_fps: Fraction | float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Source frames before and after each target instant, and the weight of the latter; exact rational arithmetic."""
    if frames == 0:
        raise DataError("cannot resample a clip without frames")
    ratio = exact_rate(source_fps) / exact_rate(target_fps)
    steps = np.arange(resampled_length(frames, source_fps, target_fps), dtype=np.int64) * ratio.numerator
    low = steps // ratio.denominator
    weight = (steps % ratio.denominator) / ratio.denominator
    return low, np.minimum(low + 1, frames - 1), weight
