"""The person that published data were resized to, and other targets of retargeting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.checkpoints.arrays import load_array
from hmu.errors import DataError
from hmu.motion.features import bone_offsets
from hmu.motion.skeleton import T2M

# Metres between each joint and its parent in every HumanML3D clip (all were given the bones of clip 000021).
_HUMANML3D_BONES = (
    *(0.0, 0.103074, 0.109883, 0.131568, 0.393623, 0.390188, 0.143190, 0.432433, 0.425643, 0.057365, 0.143382),
    *(0.149419, 0.219360, 0.137487, 0.143383, 0.103039, 0.131614, 0.122984, 0.256840, 0.263092, 0.266012, 0.269876),
)


def humanml3d_offsets() -> NDArray[np.float64]:
    """Bone vectors ``(22, 3)`` in metres of the reference person of HumanML3D (lengths rounded to a micrometre)."""
    offsets: NDArray[np.float64] = T2M.raw_axes * np.array(_HUMANML3D_BONES)[:, None]
    return offsets


def offsets_from_file(path: str | Path) -> NDArray[np.float64]:
    """Bone vectors of a pose ``(22, 3)`` or the first of ``(frames, 22, 3)`` in a ``.npy`` file; DataError if none."""
    try:
        pose = load_array(path)
    except FileNotFoundError:
        raise DataError(f"target skeleton '{path}' does not exist: give a .npy file of joints") from None
    except DataError as error:
        raise DataError(f"target skeleton {error}") from None
    if pose.dtype.kind not in "fiu":
        raise DataError(f"target skeleton '{path}' holds {pose.dtype}, expected numbers")
    if pose.ndim == 3 and len(pose):
        pose = pose[0]
    if pose.ndim != 2 or len(pose) < T2M.joints or pose.shape[1] != 3 or not np.isfinite(pose).all():
        raise DataError(
            f"target skeleton '{path}': expected joints of shape ({T2M.joints}, 3) or (frames, "
            f"{T2M.joints}, 3), got {pose.shape}"
        )
    return bone_offsets(pose, T2M)
