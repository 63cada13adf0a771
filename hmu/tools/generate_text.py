"""Motions from text: which prompts at which lengths, generated batch by batch and written as they come."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from hmu import console
from hmu.checks import require_time
from hmu.errors import ConfigError
from hmu.phases import Part
from hmu.progress import phase
from hmu.progress import plan as plan_job
from hmu.tools import prompts
from hmu.tools.generate_files import RECORDS, check_room, files_of, write
from hmu.tools.prompts import ASKED, Job, Limits

if TYPE_CHECKING:
    from torch import Tensor

    from hmu.backbones.base import MotionBackbone
    from hmu.outputs import Output

log = logging.getLogger(__name__)


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
        found = " and ".join(f"{key}=" for key in given) or "none of them"
        raise ConfigError(f'give one of prompt="...", prompts=file.txt and split=test; found {found}')
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
    from hmu.documents import write_json

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

    from hmu.evaluation.generation import checked

    device = next(backbone.parameters()).device
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
