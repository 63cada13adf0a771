"""Generate motions:  ``python -m hmu.tools.generate prompt="a person kicks" edits=[path:1.0]``.

Writes into ``out``, from text: ``features/*.npy`` ``(frames, features)`` in real units, ``joints/*.npy``
``(frames, joints, 3)``, ``animations/*``, ``bvh/*`` if wished, and ``records.json`` (name, prompt, length, repeat,
seed, files, edits of each). Without text: :mod:`hmu.tools.generate_gait`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.documents import read_json
from hmu.errors import ConfigError, HmuError
from hmu.tools import generate_text
from hmu.tools.generate_text import RECORDS
from hmu.tools.prompts import ASKED
from hmu.tools.sweeping import claim_out
from hmu.values import Common, Count, Device, Node, Place, Positive, Seed, Text, Threads
from hmu.values import Keys as Declared

log = logging.getLogger(__name__)


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


def run(config: DictConfig) -> list[dict[str, Any]]:
    """Generate what ``config`` (``configs/generate.yaml``) asks for; returns the records."""
    if any(config[key] is not None for key in ASKED) or reads_text(config):
        generate_text.check_asked(config)
    place = claim_out(config, "generate", listed)

    import torch

    from hmu.backbones.base import MotionBackbone
    from hmu.build import instantiate
    from hmu.devices import device_of
    from hmu.methods.applying import applied
    from hmu.methods.edit import load_edits

    if config.threads is not None:
        torch.set_num_threads(int(config.threads))
    entries = [config.edits] if isinstance(config.edits, str) else list(config.edits)
    edits = load_edits([str(Path(entry).expanduser()) for entry in entries])
    backbone = instantiate(config.backbone)
    if not isinstance(backbone, MotionBackbone):
        raise ConfigError(f"backbone._target_ '{config.backbone._target_}' did not build a MotionBackbone")
    backbone = backbone.to(device_of(str(config.device))).eval()
    backbone.check_steps(config.steps, "steps")
    facts = [
        {"path": str(entry), "scale": scale, "method": edit.method, "concept": edit.concept}
        for entry, (edit, scale) in zip(entries, edits, strict=True)
    ]
    change = applied(backbone, edits, strict=config.strict)
    if backbone.reads_text:
        records = generate_text.run(config, backbone, change, facts, place)
    else:
        from hmu.tools import generate_gait

        records = generate_gait.run(config, backbone, change, facts, place)
    place.finish()
    return records


def reads_text(config: DictConfig) -> bool:
    """Whether the configured backbone, by its class, can be asked with prompts."""
    from hmu.workflows.parts import backbone_class

    kind = backbone_class(config.backbone)
    return kind is None or kind.reads_text


def listed(out: Path) -> list[str]:
    """Files of a call of an older version, by the records that it left; ConfigError where these cannot be read."""
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


if __name__ == "__main__":
    main("generate", run, Keys)
