"""Measure the metrics with a base and a retain-only reference: ``python -m hmu.tools.metaeval base=… reference=…``.

Writes ``metaeval.json`` and ``metaeval.md`` into ``out`` and, asked for, the table into ``document``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hmu.app import main
from hmu.tools.detectors_report import fill, page_of
from hmu.tools.sweeping import claim_out
from hmu.values import Common, Device, Node, Place, Seed, Threads

if TYPE_CHECKING:
    from hmu.data.concepts import Concept
    from hmu.evaluation.metaeval import Effect

log = logging.getLogger(__name__)


class Keys(Common):
    """What ``configs/metaeval.yaml`` holds."""

    backbone: Node
    concept: Node
    evaluator: Node
    suite: Node
    base: str
    reference: Place
    ckpt: Place
    out: Place
    overwrite: bool
    document: Place | None
    trust: Place | Sequence[Place] | None
    device: Device
    seed: Seed
    threads: Threads | None


def run(config: DictConfig) -> Path:
    """Generate with both models, measure, compare; returns the Markdown file.

    Raises:
        CheckpointError: ``base`` or ``reference`` is no model of the same kind.
        ConfigError: ``reference`` has seen the concept, or the document is missing.
    """
    from hmu.devices import device_of
    from hmu.documents import read_text, write_json, write_text
    from hmu.evaluation.metaeval import effects, table
    from hmu.workflows.job import Job
    from hmu.workflows.measure import prepare_gallery
    from hmu.workflows.parts import build_backbone, check_match

    place = claim_out(config, "metaeval")
    out = place.folder
    job = Job(config)
    config = job.config
    job.seed_everything()
    document = None if config.document is None else page_of(config)
    source, concept = job.source, job.concept
    backbone = build_backbone(config, checkpoint=_weights(str(config.base))).to(device_of(config.device))
    job.backbone = backbone
    check_match(backbone, source)
    models = [model for model in (job.base_model, job.reference) if model is not None]
    evaluator = job.evaluator.to(device_of(config.device))
    prepare_gallery(job)
    suite = job.suite
    measured, _ = suite.measure(models, job.sets, evaluator, concept, job.seed, job.generated)
    found = effects(measured["base"], measured["reference"])
    circumstances = {
        "concept": concept.name,
        "dataset": source.name,
        "evaluator": evaluator.fingerprint,
        "partition": job.measured.hash,
        "repeats": suite.repeats,
        "seed": job.seed,
        "base": str(config.base),
        "reference": str(config.reference),
    }
    place.begin(["metaeval.json", "metaeval.md"])
    write_json(out / "metaeval.json", {"schema": 1, "context": circumstances, "effects": [asdict(e) for e in found]})
    heading = f"{backbone.name}, '{concept.name}' on {source.name}, {suite.repeats} repeats."
    text = f"{heading}\n\n{table(found)}\n"
    write_text(out / "metaeval.md", text)
    place.finish()
    if document is not None:
        table_of_page = f"{heading}\n\n{table(sides_of(found, concept))}\n"
        write_text(document, fill(read_text(document), "metaeval", table_of_page))
    log.info("%s\n%s", out / "metaeval.md", text)
    return out / "metaeval.md"


def sides_of(found: Sequence[Effect], concept: Concept) -> list[Effect]:
    """What a page has room for: forget and retain, the detectors' rates over everything and of the concept."""
    return [e for e in found if e.set in ("forget", "retain") and e.label in (None, concept.name)]


def _weights(base: str) -> str:
    """What ``backbone.checkpoint`` takes: the model of a run folder, or the name as it stands."""
    return str(Path(base) / "model") if (Path(base) / "model").is_dir() else base


if __name__ == "__main__":
    main("metaeval", run, Keys)
