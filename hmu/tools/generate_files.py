"""The files of a generated motion: features, joints, BVH and animation."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hmu.errors import ConfigError
from hmu.tools.prompts import Job

if TYPE_CHECKING:
    import numpy as np

    from hmu.backbones.base import MotionBackbone
    from hmu.motion.skeleton import Skeleton

RECORDS = "records.json"
BVH = {"exact": "all", "fixed": "root"}  # which joints get position channels


def check_room(config: DictConfig, lengths: Sequence[int], backbone: MotionBackbone) -> None:
    """Refuse more motions than the disk holds, ``config.repeats`` of each of ``lengths`` frames."""
    from hmu.evaluation.generation import NUMBER

    repeats = int(config.repeats)
    numbers = backbone.features + 3 * _skeleton(backbone).joints
    needed, folder = NUMBER * numbers * repeats * sum(lengths), Path(config.out).absolute()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if needed > free:
        raise ConfigError(
            f"repeats={repeats}: {repeats * len(lengths):,} motions need {_size(needed)}, {_size(free)} are free: "
            "ask less (repeats=, limit=), or name another place (out=)"
        )


def _skeleton(backbone: MotionBackbone) -> Skeleton:
    representation = backbone.representation
    if representation.skeleton is None:
        raise ConfigError(f"{backbone.name} generates {representation.name}, which has no skeleton to write motions of")
    return representation.skeleton


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def files_of(job: Job, config: DictConfig) -> dict[str, str]:
    """The files of one motion by kind, relative to ``out``."""
    files = {"features": f"features/{job.stem}.npy", "joints": f"joints/{job.stem}.npy"}
    if config.bvh != "none":
        files["bvh"] = f"bvh/{job.stem}.bvh"
    if config.animation != "none":
        files["animation"] = f"animations/{job.stem}.{config.animation}"
    return files


def write(out: Path, job: Job, features: np.ndarray, backbone: MotionBackbone, config: DictConfig) -> dict[str, str]:
    """Write one motion ``(frames, features)`` in all asked forms; returns the files relative to ``out``."""
    from hmu.motion.decoding import features_to_joints

    skeleton = _skeleton(backbone)
    joints = features_to_joints(features, skeleton)
    files = files_of(job, config)
    _save_array(out / files["features"], features)
    _save_array(out / files["joints"], joints)
    if "bvh" in files:
        _save_bvh(out / files["bvh"], joints, skeleton, backbone.fps, config)
    if "animation" in files:
        import torch

        from hmu.viz.animate import render

        drawn = backbone.representation
        assert drawn.stick is not None
        panel, stick = ("", drawn.figure(torch.from_numpy(features))), replace(drawn.stick, fps=backbone.fps)
        render([panel], out / files["animation"], stick, caption=job.item.prompt)
    return files


def _save_bvh(path: Path, joints: np.ndarray, skeleton: Skeleton, fps: float, config: DictConfig) -> None:
    from hmu.motion.bvh_write import centimetres, joints_to_bvh, write_bvh
    from hmu.motion.foot_lock import lock_feet

    metres = joints * skeleton.units_to_metres
    if config.foot_lock:
        metres = lock_feet(metres, skeleton.contacts)
    write_bvh(path, centimetres(joints_to_bvh(metres, skeleton, fps, BVH[str(config.bvh)])))


def _save_array(path: Path, array: np.ndarray) -> None:
    import numpy as np

    from hmu.documents import write_bytes

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    write_bytes(path, buffer.getvalue())
