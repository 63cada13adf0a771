"""The motions of a page read back in Python, as its script does it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def unpack(where: Mapping[str, Any], text: str) -> list[dict[str, NDArray[np.float64]]]:
    """The inverse of :func:`pack`, as the page's script does it: per take, points ``(frames, points, 3)`` by model."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    flat = np.ascontiguousarray(planes.reshape(2, -1).T).view("<i2").ravel()
    takes, start = [], 0
    for entry in where["takes"]:
        motions = {}
        for clip in entry["clips"]:
            shape = (clip["points"] * 3, clip["frames"])
            size = shape[0] * shape[1]
            whole: NDArray[np.int16] = np.cumsum(flat[start : start + size].reshape(shape), axis=1, dtype=np.int16)
            motions[clip["model"]] = whole.T.reshape(clip["frames"], clip["points"], 3) * np.float64(where["step"])
            start += size
        takes.append(motions)
    return takes
