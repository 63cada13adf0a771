"""Base beside unlearned (beside reference): numbers, a report in words, plots and an animation, into one folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hmu import processes
from hmu.devices import of_module
from hmu.evaluation.gallery import NcsGallery, build_gallery, searched_by
from hmu.evaluation.generation import Model
from hmu.evaluation.results import Results
from hmu.evaluation.scoreboard import scoreboard
from hmu.methods.applying import applied
from hmu.methods.edit import Edit
from hmu.progress import phase
from hmu.report.text import headline, summary
from hmu.report.write import write_measured
from hmu.workflows.basis import data_distance
from hmu.workflows.job import Job
from hmu.workflows.trainer import log_report

log = logging.getLogger(__name__)


def measure(job: Job, edits: Sequence[tuple[Edit, float]]) -> Results | None:
    """Evaluate the job's backbone with and without ``edits``; writes ``metrics.json``, the reports and ``samples/``.

    Returns:
        the results; None in the other processes of a group, which only help generating.
    """
    suite, sets, concept = job.suite, job.sets, job.concept
    evaluator = job.evaluator.to(of_module(job.backbone))
    models = models_of(job, edits)
    prepare_gallery(job)
    if processes.group()[1] > 1:  # they fill the cache together; the first one alone counts
        suite.ask(models, sets, evaluator, job.seed, job.generated)
        first = processes.group()[0] == 0
        processes.leave()
        if not first:
            return None
    rows, generated = suite.run(models, sets, evaluator, concept, job.seed, job.generated)
    with phase("report"):
        taught = bool(edits) and all(edit.settings.get("mode") == "specialise" and scale > 0 for edit, scale in edits)
        context = _context(job) | {"edited": "specialised" if taught else "unlearned"}
        context["real_clips"] = suite.real_rates(sets, concept)
        results = Results(context, rows)
        results = replace(results, scoreboard=scoreboard(results) if edits else {})
        write_measured(job.folder, results, suite, sets, generated, concept, job.backbone.fps)
    job.run.stage("evaluate")
    log.info("measured, 95 %% intervals:\n%s", summary(results))
    log.info("%s", headline(results))
    log_report(job.config, results, job.folder)
    return results


def models_of(job: Job, edits: Sequence[tuple[Edit, float]]) -> list[Model]:
    """What is asked: the base, the base with the edits if there are any, the reference if there is one."""
    models = [job.base_model]
    if edits:
        strength = "+".join(f"{digest(edit)}@{scale}" for edit, scale in edits)
        change = partial(applied, job.backbone, edits, base=job.base)
        models.append(Model("unlearned", job.backbone, f"{job.base}+{strength}", change))
    return models + ([] if job.reference is None else [job.reference])


def prepare_gallery(job: Job) -> None:
    """Give the suite the real clips that answer what is generated, if it asks for them."""
    suite, searched = job.suite, searched_by(job.evaluator)
    if suite.gallery is not None:
        gallery = build_gallery(job.source, suite.gallery, searched, job.cache / "galleries")
        suite.ncs = NcsGallery(gallery, searched, exclude_self=not suite.gallery_self)


def _context(job: Job) -> dict[str, Any]:
    """What the numbers depend on, for ``metrics.json``."""
    config, source, suite, evaluator, backbone = job.config, job.source, job.suite, job.evaluator, job.backbone
    sides = job.measured
    counts = {"forget": len(sides.forget), "retain": len(sides.retain)}
    return {
        "title": f"{config.run_name} on {source.name}",
        "concept": job.concept.name,
        "dataset": source.name,
        "data_fingerprint": source.fingerprint,
        "data_distance": data_distance(backbone, source),
        "partition": {"split": suite.split, "hash": sides.hash, **counts},
        "evaluator": evaluator.name,
        "evaluator_fingerprint": evaluator.fingerprint,
        "evaluator_width": evaluator.width,
        "statistics": "motions in real units; model and evaluator each use their own mean and std",
        "r_precision_pool": getattr(suite.metrics.get("r_precision"), "pool", None),
        "gallery": suite.gallery,
        "gallery_holds_own_clip": suite.gallery_self if suite.gallery else None,
        "repeats": suite.repeats,
        "seeds": list(range(job.seed, job.seed + suite.repeats)),
        "bootstrap": suite.bootstrap,
        "reference": None if config.reference is None else folder_name(Path(config.reference)),
        "guidance": suite.guidance,
        "steps": suite.steps,
        "batch_size": suite.batch_size,
        "backbone": backbone.name,
        "made_with": {group: job.name(group) for group in ("backbone", "method") if job.name(group)},
        "reads_text": backbone.reads_text,
    }


def folder_name(path: Path) -> str:
    """Names a run folder in reports, which are shown to others: without the folders above it."""
    home = path.resolve()
    return home.parent.name if home.name == "model" else home.name


def digest(edit: Edit) -> str:
    """Identity of what an edit does: its kind, its tensors and, of an adapter, rank and alpha."""
    identity = hashlib.sha256(repr([edit.meta.get(key) for key in ("kind", "rank", "alpha")]).encode())
    for name, tensor in sorted(edit.tensors.items()):
        identity.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return identity.hexdigest()[:16]
