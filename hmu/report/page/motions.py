"""Motions as the page carries them: millimetres, differences over time, deflated, base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.stick import Stick

STEP = 0.001  # metres; what a screen can show of a person is coarser


@dataclass(frozen=True)
class Clip:
    """One motion of one model.

    Attributes:
        joints: ``(frames, joints, 3)`` in metres, y up, ground at 0.
        arrows: tail and tip of each arrow (a ground reaction force, say), ``(frames, arrows, 2, 3)`` in metres.
        seen: whether a detector sees the concept in it; None where nobody looked.
    """

    joints: NDArray[Any]
    arrows: NDArray[Any] | None = None
    seen: bool | None = None

    def points(self, joints: int) -> NDArray[np.float64]:
        """All points ``(frames, joints + 2 * arrows, 3)``; DataError for another shape or for NaN."""
        points = np.asarray(self.joints, dtype=np.float64)
        if points.ndim != 3 or points.shape[1:] != (joints, 3) or not len(points):
            raise DataError(f"cannot show joints of shape {points.shape}: expected (frames, {joints}, 3)")
        if self.arrows is not None:
            arrows = np.asarray(self.arrows, dtype=np.float64)
            if arrows.ndim != 4 or arrows.shape[0] != len(points) or arrows.shape[2:] != (2, 3):
                raise DataError(f"cannot show arrows of shape {arrows.shape}: expected ({len(points)}, arrows, 2, 3)")
            points = np.concatenate([points, arrows.reshape(len(points), -1, 3)], axis=1)
        if not np.isfinite(points).all():
            raise DataError("cannot show a motion that contains NaN or infinity; the motion itself is broken")
        return points


@dataclass(frozen=True)
class Take:
    """One prompt and what each model answered: ``clips`` by model name (``base``, ``unlearned``, ``real`` …)."""

    prompt: str
    set: str
    clips: Mapping[str, Clip] = field(default_factory=dict)


def pack(takes: Sequence[Take], stick: Stick) -> tuple[dict[str, Any], str]:
    """The motions of all ``takes``.

    Values are whole steps of a millimetre (more where a motion leaves ±32 m), as 16-bit differences to the frame before
    along each coordinate; low bytes of everything first, high bytes after; deflated. Arithmetic wraps at 16 bits.

    Returns:
        where each clip lies (JSON values: ``step``, ``takes``), and the motions in base64.
    """
    points = [[clip.points(stick.joints) for clip in take.clips.values()] for take in takes]
    reach = max((float(np.abs(motion).max()) for of_take in points for motion in of_take), default=0.0)
    step = max(STEP, reach / 32767)
    entries, differences = [], []
    for take, motions in zip(takes, points, strict=True):
        clips = []
        for (model, clip), motion in zip(take.clips.items(), motions, strict=True):
            whole = np.rint(motion / step).astype(np.int32).reshape(len(motion), -1).T
            differences.append(np.diff(whole, axis=1, prepend=0).astype(np.int16).ravel())
            clips.append({"model": model, "frames": len(motion), "points": motion.shape[1], "seen": clip.seen})
        entries.append({"prompt": take.prompt, "set": take.set, "clips": clips})
    flat = np.concatenate(differences).astype("<i2") if differences else np.zeros(0, dtype="<i2")
    planes = flat.view(np.uint8).reshape(-1, 2).T.tobytes()
    return {"step": step, "takes": entries}, base64.b64encode(zlib.compress(planes, 6)).decode("ascii")
