"""Mean and Std of a data set of feature rows, averaged within the seven column groups as published."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.layout import FeatureLayout

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


def motion_statistics(clips: Iterable[ArrayLike]) -> tuple[Array, Array]:
    """Mean and Std per column ``(features,)`` of clips ``(frames, features)``, Std averaged inside each column group.

    Clips are read once and not kept, whatever the size of the data set. A clip with NaN or infinite numbers is left
    out, as published. A group that never varies gets 1 instead of 0, so that nobody divides by zero.

    Raises:
        DataError: without any usable clip, or for clips of different widths.
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    for clip in clips:
        rows = np.asarray(clip, dtype=np.float64)
        if rows.ndim != 2 or (count and rows.shape[1] != len(mean)):
            raise DataError(f"clips of one data set have shape (frames, {len(mean) or 'features'}), got {rows.shape}")
        if len(rows) == 0 or not np.isfinite(rows).all():
            log.warning("a clip of %d frames is empty or not finite: left out of the statistics", len(rows))
            continue
        if count == 0:
            mean, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        # pairwise update (Chan et al. 1979): no large sums of squares, so nothing cancels
        clip_mean, total = rows.mean(axis=0), count + len(rows)
        delta = clip_mean - mean
        squares += ((rows - clip_mean) ** 2).sum(axis=0) + delta**2 * (count * len(rows) / total)
        mean += delta * (len(rows) / total)
        count = total
    if count == 0:
        raise DataError("no usable clip to compute Mean and Std from")
    std = np.sqrt(squares / count)
    for _, columns in FeatureLayout.of(len(std)).groups:
        average = float(std[columns].mean())
        std[columns] = average if average > 0 else 1.0
    return mean, std
