"""Generate motions from text:  ``python -m hmu.tools.generate prompt="a person kicks" edits=[path:1.0]``.

Writes into ``out``: ``features/*.npy`` ``(frames, features)`` in real units, ``joints/*.npy`` ``(frames, joints, 3)``,
``animations/*``, ``bvh/*`` if wished, and ``records.json`` (name, prompt, length, repeat, seed, files, edits of each).
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from hmu.app import main
from hmu.errors import ConfigError
from hmu.tools import prompts
from hmu.tools.prompts import Item, Limits

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from hmu.backbones.base import MotionBackbone
    from hmu.methods.edit import Edit
    from hmu.motion.skeleton import Skeleton

log = logging.getLogger(__name__)

RECORDS = "records.json"
ASKED = ("prompt", "prompts", "split")
ANIMATIONS = ("gif", "mp4", "none")
BVH = {"exact": "all", "fixed": "root"}  # which joints get position channels


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
    out = Path(config.out)
    old = claim(out, overwrite=bool(config.overwrite))

    import torch
    from hydra.utils import instantiate

    from hmu.backbones.base import MotionBackbone
    from hmu.methods.edit import applied, load_edits

    if config.threads is not None:
        torch.set_num_threads(int(config.threads))
    edits = load_edits([str(entry) for entry in config.edits])
    backbone = instantiate(config.backbone)
    if not isinstance(backbone, MotionBackbone):
        raise ConfigError(f"backbone._target_ '{config.backbone._target_}' did not build a MotionBackbone")
    backbone = backbone.to(_device(str(config.device))).eval()
    if not backbone.reads_text:
        from hmu.tools import generate_gait

        change = applied(backbone, edits, strict=bool(config.strict))
        facts = _edit_facts(config.edits, edits)
        return generate_gait.run(config, backbone, change, facts, old)  # type: ignore[arg-type]
    jobs = plan(config, backbone)
    with applied(backbone, edits, strict=bool(config.strict)):
        # Only now, when nothing the user gave can be wrong any more.
        for path in old:
            path.unlink(missing_ok=True)
        return produce(backbone, jobs, config, out, _edit_facts(config.edits, edits))


def reads_text(config: DictConfig) -> bool:
    """Whether the configured backbone, by its class, can be asked with prompts."""
    from hmu.workflows.pairs import backbone_class

    kind = backbone_class(config.backbone)
    return kind is None or kind.reads_text


def check(config: DictConfig) -> None:
    """Refuse what cannot work before anything heavy is loaded. Raises :class:`ConfigError`."""
    given = [key for key in ASKED if config[key] is not None]
    if len(given) != 1:
        found = " and ".join(f"{key}=" for key in given) or "none of them"
        raise ConfigError(f'give one of prompt="...", prompts=file.txt and split=test; found {found}')
    if config.animation not in ANIMATIONS:
        raise ConfigError(f"animation={config.animation} is unknown: use one of {', '.join(ANIMATIONS)}")
    if config.bvh not in (*BVH, "none"):
        raise ConfigError(f"bvh={config.bvh} is unknown: use one of {', '.join(BVH)}, none")
    for key in ("repeats", "batch_size", "limit", "steps"):
        value = config[key]
        if value is None and key in ("limit", "steps"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}={value}: expected a whole number of at least 1")


def claim(out: Path, overwrite: bool) -> list[Path]:
    """Make sure that ``out`` may be written to; returns the files of an earlier call that ``overwrite`` gives up.

    Raises:
        ConfigError: ``out`` is a file, holds anything (without ``overwrite``), or is not an earlier call's folder.
    """
    if out.is_file():
        raise ConfigError(f"out={out} is a file, expected a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return []
    if not overwrite:
        raise ConfigError(f"out={out} is not empty: choose another folder or add overwrite=true; nothing was changed")
    if not (out / RECORDS).is_file():
        raise ConfigError(f"out={out} holds files that this tool did not write (no {RECORDS}); choose another folder")
    try:
        records = json.loads((out / RECORDS).read_text(encoding="utf-8"))
        files = [(out / file).resolve() for record in records for file in record["files"].values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{out / RECORDS} is damaged, nothing was removed; choose another folder") from error
    # A record file is not trusted to point outside its folder.
    return [out / RECORDS, *(path for path in files if path.is_relative_to(out.resolve()))]


def plan(config: DictConfig, backbone: MotionBackbone) -> list[Job]:
    """All motions to make, sorted by repeat and, inside, from long to short, so that a batch pads little."""
    limits = Limits(backbone.fps, backbone.unit_length, backbone.min_frames, backbone.max_frames)
    asked = prompts.asked_frames(config.length, config.seconds, backbone.fps)
    if config.prompt is not None:
        items = prompts.from_texts(config.prompt if isinstance(config.prompt, ListConfig) else [config.prompt])
    elif config.prompts is not None:
        items = prompts.from_file(Path(config.prompts), backbone.fps)
    else:
        from hydra.utils import instantiate

        source = instantiate(config.dataset)
        if source.features != backbone.features:
            raise ConfigError(
                f"dataset '{source.name}' has {source.features} columns, the backbone {backbone.features}: "
                "choose a dataset of the same representation"
            )
        items = prompts.from_split(source, str(config.split), limits)
    items = items[: config.limit]
    lengths = prompts.fit_lengths(items, asked, limits, own_wins=config.split is None)
    order = sorted(range(len(items)), key=lambda number: -lengths[number])
    return [Job(items[n], n, repeat, lengths[n]) for repeat in range(config.repeats) for n in order]


def produce(
    backbone: MotionBackbone, jobs: Sequence[Job], config: DictConfig, out: Path, edits: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Generate the jobs batch by batch; motions and records are on disk after every batch."""
    from hmu.checkpoints.safe import write_json

    records: list[dict[str, Any]] = []
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
        records.sort(key=lambda record: (record["repeat"], record["files"]["features"]))
        write_json(out / RECORDS, records)
        log.info("%d of %d motions", len(records), len(jobs))
    log.info("wrote them to %s", out)
    return records


def sample(backbone: MotionBackbone, jobs: Sequence[Job], config: DictConfig) -> Iterator[tuple[list[Job], Tensor]]:
    """Batches of jobs with their motions ``(batch, frames, features)`` on the CPU.

    Each repeat has one generator, seeded with ``seed + repeat``, that runs through its jobs in order: where a backbone
    draws noise clip by clip, motions do not depend on the batch size.
    """
    import torch

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
            yield batch, motion.float().cpu()


def write(out: Path, job: Job, features: np.ndarray, backbone: MotionBackbone, config: DictConfig) -> dict[str, str]:
    """Write one motion ``(frames, features)`` in all wanted forms; returns the files relative to ``out``."""
    from hmu.motion.features import features_to_joints
    from hmu.motion.skeleton import skeleton_for

    skeleton = skeleton_for(backbone.features)
    joints = features_to_joints(features, skeleton)
    files = {"features": f"features/{job.stem}.npy", "joints": f"joints/{job.stem}.npy"}
    _save_array(out / files["features"], features)
    _save_array(out / files["joints"], joints)
    if config.bvh != "none":
        files["bvh"] = f"bvh/{job.stem}.bvh"
        _save_bvh(out / files["bvh"], joints, skeleton, backbone.fps, config)
    if config.animation != "none":
        from hmu.viz.animate import render

        files["animation"] = f"animations/{job.stem}.{config.animation}"
        panel = ("", joints)
        render([panel], out / files["animation"], fps=backbone.fps, caption=job.item.prompt, skeleton=skeleton)
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

    from hmu.checkpoints.safe import write_bytes

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


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
    main("generate", run)
