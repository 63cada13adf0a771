"""Write the codes of a data set as a table, and choose a concept's codes:  ``python -m hmu.tools.codes concept=kick``.

Writes into ``out``: the table (``codes.csv`` and, asked for, ``codes.parquet``) with the codes of both sides of the
training split, ``codes.yaml`` with the chosen codes by layer (to be joined with those of other concepts:
``method.lists=[...]``), and ``codes.json`` with what they carry. No model is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.errors import ConfigError
from hmu.tools.sweeping import claim_out
from hmu.values import Common, Device, Node, Place

log = logging.getLogger(__name__)


class Keys(Common):
    """What ``configs/codes.yaml`` holds."""

    backbone: Node
    concept: Node
    method: Node
    formats: Sequence[Literal["csv", "parquet"]]
    out: Place
    overwrite: bool
    forget_file: Place | None
    retain_file: Place | None
    device: Device


def run(config: DictConfig) -> list[Path]:
    """Encode, choose, write; returns the files. ConfigError: not LCR, no codebooks, or an ``out`` in use."""
    from hmu.devices import device_of
    from hmu.methods.lcr import Lcr
    from hmu.workflows.job import Job
    from hmu.workflows.parts import check_match

    if not len(config.formats):
        raise ConfigError("formats=[]: expected at least one of csv and parquet")
    place = claim_out(config, "codes")
    out = place.folder
    job = Job(config)
    method = job.method
    if not isinstance(method, Lcr):
        raise ConfigError(f"method={method.name}: codes are chosen by method=lcr")
    forget_clips, retain_clips = job.clips
    backbone = job.backbone.to(device_of(config.device))
    check_match(backbone, job.source)
    table, forget = method.statistics(backbone, forget_clips, retain_clips, all_layers=True)
    method.select(backbone, table, forget)
    place.begin([*(f"codes.{name}" for name in config.formats), "codes.yaml", "codes.json"])
    files = [table.save(out / f"codes.{name}") for name in config.formats] + method.save_findings(out)
    place.finish()
    log.info("codes of %d clips: %s", len(table), ", ".join(str(path) for path in files))
    return files


if __name__ == "__main__":
    main("codes", run, Keys)
