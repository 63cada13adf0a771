"""Generate motions from text:  ``python -m hmu.tools.generate prompt="a person kicks" edits=[path:1.0]``.

Writes into ``out``: ``features/*.npy`` ``(frames, features)`` in real units, ``joints/*.npy`` ``(frames, joints, 3)``,
``animations/*``, ``bvh/*`` if wished, and ``records.json`` (name, prompt, length, repeat, seed, files, edits of each).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, ListConfig

from hmu import console
from hmu.app import main
from hmu.checks import require_time
from hmu.documents import read_json
from hmu.errors import ConfigError, HmuError
from hmu.outputs import claim_folder
from hmu.phases import Part
from hmu.progress import phase
from hmu.progress import plan as plan_job
from hmu.tools import prompts
from hmu.tools.generate_files import check_room, files_of, write
from hmu.tools.prompts import Item, Limits
from hmu.tools.sweeping import place_of
from hmu.values import Common, Count, Device, Node, Place, Positive, Seed, Text, Threads
from hmu.values import Keys as Declared

if TYPE_CHECKING:
    from torch import Tensor

    from hmu.backbones.base import MotionBackbone
    from hmu.methods.edit import Edit

log = logging.getLogger(__name__)

RECORDS = "records.json"
ASKED = ("prompt", "prompts", "split")


class Gait(Declared):
    """What ``gait`` holds there; the ranges are those of :mod:`hmu.gait.trial`."""

    windows: Count
    speed: Annotated[float, "> 0, < 10 metres per second"] | Sequence[Annotated[float, "> 0, < 10"]] | None
    height: Annotated[float, ">= 0.5, <= 2.5 metres"]
    mass: Annotated[float, ">= 10, <= 250 kilograms"]
    trial: Place | None
    known: Literal["kinematics", "forces"]


class Keys(Common):
    """What ``configs/generate.yaml`` holds."""

    backbone: Node
    prompt: Text | Sequence[Text] | None
    prompts: Place | None
    split: str | None
    limit: Count | None
    repeats: Count
    length: Count | None
    seconds: Positive | None
    edits: Place | Sequence[Place]
    strict: bool
    guidance: float | None
    steps: Count | None
    batch_size: Count
    gait: Gait
    animation: Literal["gif", "mp4", "none"]
    bvh: Literal["exact", "fixed", "none"]
    foot_lock: bool
    out: Place
    overwrite: bool
    device: Device
    seed: Seed
    threads: Threads | None


@dataclass(frozen=True)
class Job:
    """One motion to make: which prompt, which repeat, how long."""

    item: Item
    number: int
    repeat: int
    frames: int

    @property
    def stem(self) -> str:
        """File name without ending: unique, readable, valid on every system."""
        words = re.sub(r"[^a-z0-9]+", "-", self.item.prompt.lower())[:40].strip("-") or "unconditional"
        return f"{self.number:04d}-{words}-r{self.repeat}"


def run(config: DictConfig) -> list[dict[str, Any]]:
    """Generate what ``config`` (``configs/generate.yaml``) asks for; returns the records."""
    if any(config[key] is not None for key in ASKED) or reads_text(config):
        check(config)
    out = place_of(config)
    place = claim_folder(out, "out", "generate", overwrite=config.overwrite, older=lambda: listed(out))

    import torch

    from hmu.backbones.base import MotionBackbone
    from hmu.build import instantiate
    from hmu.methods.applying import applied
    from hmu.methods.edit import load_edits

    if config.threads is not None:
        torch.set_num_threads(int(config.threads))
    entries = [config.edits] if isinstance(config.edits, str) else list(config.edits)
    edits = load_edits([str(Path(entry).expanduser()) for entry in entries])
    backbone = instantiate(config.backbone)
    if not isinstance(backbone, MotionBackbone):
        raise ConfigError(f"backbone._target_ '{config.backbone._target_}' did not build a MotionBackbone")
    backbone = backbone.to(_device(str(config.device))).eval()
    backbone.check_steps(config.steps, "steps")
    facts, change = _edit_facts(entries, edits), applied(backbone, edits, strict=config.strict)
    if not backbone.reads_text:
        from hmu.tools import generate_gait

        return generate_gait.run(config, backbone, change, facts, place)  # type: ignore[arg-type]
    jobs = plan(config, backbone)
    with change:
        # Only now, when nothing the user gave can be wrong any more.
        place.begin([RECORDS, *(name for job in jobs for name in files_of(job, config).values())])
        records = produce(backbone, jobs, config, out, facts)
    place.finish()
    return records


def reads_text(config: DictConfig) -> bool:
    """Whether the configured backbone, by its class, can be asked with prompts."""
    from hmu.workflows.compatibility import backbone_class

    kind = backbone_class(config.backbone)
    return kind is None or kind.reads_text


def check(config: DictConfig) -> None:
    """Refuse what cannot work before anything heavy is loaded. Raises :class:`ConfigError`."""
    given = [key for key in ASKED if config[key] is not None]
    if len(given) != 1:
        found = " and ".join(f"{key}=" for key in given) or "none of them"
        raise ConfigError(f'give one of prompt="...", prompts=file.txt and split=test; found {found}')
    if isinstance(config.prompt, ListConfig) and not len(config.prompt):
        raise ConfigError('prompt=[]: expected at least one prompt, prompt=["a person kicks"]')


def listed(out: Path) -> list[str]:
    """Files of a call of an older version, by the records that it left; none without records.

    Raises:
        ConfigError: records that cannot be read.
    """
    if not (out / RECORDS).is_file():
        return []
    try:
        content = read_json(out / RECORDS)
        records = content["records"] if isinstance(content, dict) else content
        files = [str(file) for record in records for file in record["files"].values()]
    except (HmuError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"'{out / RECORDS}' is damaged, nothing was removed; choose another folder") from error
    inside = [file for file in files if (out / file).resolve().is_relative_to(out.resolve())]  # it may say anything
    return [RECORDS, *inside]


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
    from hmu.checkpoints.safe import write_json

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
        mine = [job for job in jobs if job.repeat == repeat]
        for start in range(0, len(mine), config.batch_size):
            batch = mine[start : start + config.batch_size]
            lengths = torch.tensor([job.frames for job in batch], device=device)
            with torch.no_grad():
                condition = backbone.encode_text([job.item.prompt for job in batch])
                motion = backbone.sample(
                    condition, lengths, guidance=config.guidance, generator=generator, steps=config.steps
                )
            yield batch, checked(motion, backbone)


def _edit_facts(entries: Sequence[str], edits: Sequence[tuple[Edit, float]]) -> list[dict[str, Any]]:
    return [
        {"path": str(entry), "scale": scale, "method": edit.method, "concept": edit.concept}
        for entry, (edit, scale) in zip(entries, edits, strict=True)
    ]


def _device(name: str) -> str:
    import torch

    present = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if present else "cpu"
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"device={name} is unknown: use auto, cpu or cuda")
    if kind == "cuda" and not present:
        raise ConfigError(f"device={name}: this machine has no GPU that torch can use; use device=auto or device=cpu")
    return name


if __name__ == "__main__":
    main("generate", run, Keys)
