"""Motions from text: prompts and their lengths, generated batch by batch, and their files, written as they come."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from hmu import console
from hmu.checks import require_time
from hmu.documents import write_bytes, write_json, write_text
from hmu.errors import ConfigError
from hmu.phases import Part
from hmu.progress import phase
from hmu.progress import plan as plan_job
from hmu.tools import prompts
from hmu.tools.prompts import ASKED, Job, Limits

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from hmu.backbones.base import MotionBackbone
    from hmu.motion.skeleton import Skeleton
    from hmu.outputs import Output

log = logging.getLogger(__name__)

RECORDS = "records.json"
BVH = {"exact": "all", "fixed": "root"}  # which joints get position channels


def run(
    config: DictConfig,
    backbone: MotionBackbone,
    change: AbstractContextManager[object],
    edits: list[dict[str, Any]],
    place: Output,
) -> list[dict[str, Any]]:
    """Generate what ``config`` asks for, while ``change`` applies ``edits`` (for the records); returns the records."""
    jobs = plan(config, backbone)
    with change:
        # Only now, when nothing the user gave can be wrong any more.
        place.begin([RECORDS, *(name for job in jobs for name in files_of(job, config).values())])
        return produce(backbone, jobs, config, place.folder, edits)


def check_asked(config: DictConfig) -> None:
    """Refuse what cannot work before anything heavy is loaded. Raises :class:`ConfigError`."""
    given = [key for key in ASKED if config[key] is not None]
    if len(given) != 1:
        asked = " and ".join(f"{key}=" for key in given) or "none of them"
        raise ConfigError(f'give one of prompt="...", prompts=file.txt and split=test; found {asked}')
    if isinstance(config.prompt, ListConfig) and not len(config.prompt):
        raise ConfigError('prompt=[]: expected at least one prompt, prompt=["a person kicks"]')


def plan(config: DictConfig, backbone: MotionBackbone) -> list[Job]:
    """All motions to make, sorted by repeat and, inside, from long to short, so that a batch pads little."""
    limits = Limits(backbone.fps, backbone.unit_length, backbone.min_frames, backbone.max_frames)
    asked = prompts.asked_frames(config.length, config.seconds, backbone.fps)
    if config.prompt is not None:
        items = prompts.from_texts(config.prompt, backbone.fps)
    elif config.prompts is not None:
        items = prompts.from_file(config.prompts, backbone.fps)
    else:
        from hmu.build import instantiate

        source = instantiate(config.dataset)
        if source.features != backbone.features:
            raise ConfigError(
                f"dataset '{source.name}' has {source.features} columns, the backbone {backbone.features}: "
                "choose a dataset of the same representation"
            )
        items = prompts.from_split(source, str(config.split), limits)
    items = items[: config.limit]
    require_time("repeats", config.repeats, len(items) * config.repeats, 0.001, "motions")
    lengths = prompts.fit_lengths(items, asked, limits, own_wins=config.split is None)
    check_room(config, lengths, backbone)
    order = sorted(range(len(items)), key=lambda number: -lengths[number])
    return [Job(items[n], n, repeat, lengths[n]) for repeat in range(config.repeats) for n in order]


def produce(
    backbone: MotionBackbone, jobs: Sequence[Job], config: DictConfig, out: Path, edits: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Generate the jobs batch by batch; motions and records are on disk after every batch."""
    records: list[dict[str, Any]] = []
    announce(backbone, jobs, config)
    with phase("generating", len(jobs), "motions") as done:
        for batch, motions in sample(backbone, jobs, config):
            for job, motion in zip(batch, motions, strict=True):
                records.append(
                    {
                        "name": job.item.name,
                        "prompt": job.item.prompt,
                        "length": job.frames,
                        "repeat": job.repeat,
                        "seed": int(config.seed) + job.repeat,
                        "files": write(out, job, motion[: job.frames].numpy(), backbone, config),
                        "edits": edits,
                    }
                )
                done.advance()
            records.sort(key=lambda record: (record["repeat"], record["files"]["features"]))
            write_json(out / RECORDS, records)
    log.info("wrote %d motion%s to %s", len(records), "s" * (len(records) != 1), console.near(out))
    return records


def announce(backbone: MotionBackbone, jobs: Sequence[Job], config: DictConfig) -> None:
    """Print what will be made, and how long that may take."""
    from hmu.devices import of_module, speed_of
    from hmu.overrides import choice

    name = choice("backbone", config) or backbone.name
    where = speed_of(of_module(backbone))
    what = f"{name}, {config.steps or 'own'} steps, {config.animation}, {where}"
    prompts, repeats = len({job.number for job in jobs}), int(config.repeats)
    words = f"{prompts} prompt{'s' * (prompts != 1)} × {repeats} seed{'s' * (repeats != 1)}"
    plan_job([Part("generating", len(jobs), "motions", f"written, {what}")], words)


def sample(backbone: MotionBackbone, jobs: Sequence[Job], config: DictConfig) -> Iterator[tuple[list[Job], Tensor]]:
    """Batches of jobs with their motions ``(batch, frames, features)`` on the CPU.

    Each repeat has one generator, seeded with ``seed + repeat``, that runs through its jobs in order: where a backbone
    draws noise clip by clip, motions do not depend on the batch size.
    """
    import torch

    from hmu.devices import of_module
    from hmu.evaluation.generation import checked

    device = of_module(backbone)
    for repeat in range(config.repeats):
        generator = torch.Generator().manual_seed(int(config.seed) + repeat)
        of_repeat = [job for job in jobs if job.repeat == repeat]
        for start in range(0, len(of_repeat), config.batch_size):
            batch = of_repeat[start : start + config.batch_size]
            lengths = torch.tensor([job.frames for job in batch], device=device)
            with torch.no_grad():
                condition = backbone.encode_text([job.item.prompt for job in batch])
                motion = backbone.sample(
                    condition, lengths, guidance=config.guidance, generator=generator, steps=config.steps
                )
            yield batch, checked(motion, backbone)


# -- files of a motion: features, joints, BVH, animation -------------------------------------------------------------
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
    from hmu.motion.bvh_write import centimetres, format_bvh, joints_to_bvh
    from hmu.motion.foot_lock import lock_feet

    metres = joints * skeleton.units_to_metres
    if config.foot_lock:
        metres = lock_feet(metres, skeleton.contacts)
    bvh = joints_to_bvh(metres, skeleton, fps, BVH[str(config.bvh)])
    write_text(path, format_bvh(centimetres(bvh)))


def _save_array(path: Path, array: np.ndarray) -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    write_bytes(path, buffer.getvalue())
