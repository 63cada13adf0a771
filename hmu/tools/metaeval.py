"""Measure the metrics with a base and a retain-only reference: ``python -m hmu.tools.metaeval base=… reference=…``.

Writes ``metaeval.json`` and ``metaeval.md`` into ``out`` and, asked for, the table into ``document``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hmu.app import main
from hmu.tools.detectors_report import fill, page_of
from hmu.tools.sweeping import claim_out
from hmu.values import Common, Device, Node, Place, Seed, Threads

if TYPE_CHECKING:
    from hmu.evaluation.metaeval import Effect
    from hmu.workflows.job import Job

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
    """Generate with both models, measure, compare; returns the Markdown file."""
    from hmu.documents import read_text, write_json, write_text
    from hmu.evaluation.metaeval import table
    from hmu.workflows.job import Job

    place = claim_out(config, "metaeval")
    job = Job(config)
    document = None if job.config.document is None else page_of(job.config)
    if document is not None:
        fill(read_text(document), "metaeval", "")  # refuses before the work
    differences, context = compare(job)
    heading = f"{job.backbone.name}, '{context['concept']}' on {context['dataset']}, {context['repeats']} repeats."
    text = f"{heading}\n\n{table(differences)}\n"
    content = {"schema": 1, "context": context, "effects": [asdict(effect) for effect in differences]}
    place.begin(["metaeval.json", "metaeval.md"])
    write_json(place.folder / "metaeval.json", content)
    write_text(place.folder / "metaeval.md", text)
    place.finish()
    if document is not None:  # a page has room for both sides, the detectors' rates over everything and of the concept
        labels = (None, context["concept"])
        shown = [effect for effect in differences if effect.set in ("forget", "retain") and effect.label in labels]
        write_text(document, fill(read_text(document), "metaeval", f"{heading}\n\n{table(shown)}\n"))
    log.info("%s\n%s", place.folder / "metaeval.md", text)
    return place.folder / "metaeval.md"


def compare(job: Job) -> tuple[list[Effect], dict[str, Any]]:
    """How far base and reference differ in every metric, and the circumstances."""
    from hmu.devices import device_of
    from hmu.evaluation.metaeval import effects
    from hmu.workflows.measure import prepare_gallery
    from hmu.workflows.parts import build_backbone, check_match

    config = job.config
    job.seed_everything()
    source, concept = job.source, job.concept
    job.backbone = build_backbone(config, checkpoint=_weights(str(config.base))).to(device_of(config.device))
    check_match(job.backbone, source)
    models = [model for model in (job.base_model, job.reference) if model is not None]
    evaluator = job.evaluator.to(device_of(config.device))
    prepare_gallery(job)
    measured, _ = job.suite.measure(models, job.sets, evaluator, concept, job.seed, job.generated)
    context = {
        "concept": concept.name,
        "dataset": source.name,
        "evaluator": evaluator.fingerprint,
        "partition": job.measured.hash,
        "repeats": job.suite.repeats,
        "seed": job.seed,
        "base": str(config.base),
        "reference": str(config.reference),
    }
    return effects(measured["base"], measured["reference"]), context


def _weights(base: str) -> str:
    """What ``backbone.checkpoint`` takes: the model of a run folder, or the name as it stands."""
    return str(Path(base) / "model") if (Path(base) / "model").is_dir() else base


if __name__ == "__main__":
    main("metaeval", run, Keys)
