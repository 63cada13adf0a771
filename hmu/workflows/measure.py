"""Base beside unlearned (beside reference): numbers, a report in words, plots and an animation, into one folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.checkpoints.sealed import check_place
from hmu.checkpoints.store import Store
from hmu.choices import choice
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.divide import Partition
from hmu.errors import ConfigError, shown
from hmu.evaluation.detecting import detector_concepts
from hmu.evaluation.gallery import gallery_split
from hmu.evaluation.generation import processes
from hmu.evaluation.ncs import answering_for
from hmu.evaluation.results import Results
from hmu.evaluation.scoreboard import scoreboard
from hmu.evaluation.sets import PromptSet, build_sets
from hmu.evaluation.size import check_size
from hmu.evaluation.suite import Model, Suite
from hmu.evaluators.base import Evaluator
from hmu.methods.edit import Edit, applied, fingerprint
from hmu.progress import phase
from hmu.report.text import headline, summary
from hmu.report.write import write_measured
from hmu.workflows.basis import data_distance
from hmu.workflows.common import build_evaluator, leave_process_group, log_report
from hmu.workflows.reference import check_reference, load_reference
from hmu.workflows.sides import measured_partition

log = logging.getLogger(__name__)


def measure(
    config: DictConfig,
    backbone: MotionBackbone,
    edits: Sequence[tuple[Edit, float]],
    source: DatasetSource,
    concept: Concept,
    folder: Path,
) -> Results | None:
    """Evaluate ``backbone`` with and without ``edits``; writes ``metrics.json``, the reports and ``samples/``.

    Returns:
        the results; None in the other processes of a group, which only help generating.

    Raises:
        DataError: when the suite's split has no clip on one side.
        CheckpointError: when ``reference`` is not a run folder of ``train.py``.
    """
    sides, sets = prompt_sets(config, source, concept, backbone.unit_length)
    evaluator = build_evaluator(config, source)
    evaluator.to(next(backbone.parameters()).device)
    suite: Suite = instantiate(config.suite)
    cache = Store(Path(config.paths.cache) / "generated")
    count = 1 + bool(edits) + (config.reference is not None)
    check_size(suite, sets, count, backbone.features, evaluator.width, Path(config.paths.cache) / "generated")
    base = fingerprint(backbone)
    models = [Model("base", backbone, base)]
    if edits:
        strength = "+".join(f"{digest(edit)}@{scale}" for edit, scale in edits)
        models.append(Model("unlearned", backbone, f"{base}+{strength}", lambda: applied(backbone, edits)))
    if config.reference is not None:
        models.append(load_reference(config, backbone))
    galleries = Path(config.paths.cache) / "galleries"
    suite.answering = answering_for(source, suite.gallery, evaluator, suite.gallery_self, galleries)
    if processes()[1] > 1:  # they fill the cache together; the first one alone counts
        suite.ask(models, sets, evaluator, int(config.seed), cache)
        first = processes()[0] == 0
        leave_process_group()
        if not first:
            return None
    rows, answers = suite.run(models, sets, evaluator, concept, int(config.seed), cache)
    context = _context(config, concept, source, sides, evaluator, suite, backbone) | {"edited": _edited(edits)}
    context["data_distance"] = data_distance(backbone, source)
    with phase("report"):
        results = Results({**context, "real_clips": suite.real_rates(sets, concept)}, rows)
        results = replace(results, scoreboard=scoreboard(results) if edits else {})
        write_measured(folder, results, suite, sets, answers, concept, backbone.fps)
    log.info("measured, 95 %% intervals:\n%s", summary(results))
    log.info("%s", headline(results))
    log_report(config, results, folder)
    return results


def check_measurable(
    config: DictConfig, source: DatasetSource, concept: Concept, backbone: MotionBackbone
) -> tuple[Evaluator, list[PromptSet]]:
    """Everything :func:`measure` may refuse, before anything expensive: suite, cache, evaluator, splits, reference.

    Returns:
        the evaluator and the prompt sets.

    Raises:
        HmuError: as :func:`measure`.
    """
    suite: Suite = instantiate(config.suite)
    backbone.check_steps(suite.steps, "suite.steps")
    check_place(Path(config.paths.cache))
    evaluator = build_evaluator(config, source)
    if suite.gallery is not None:
        gallery_split(source, str(suite.gallery))
    _, sets = prompt_sets(config, source, concept, backbone.unit_length)
    count = 2 + (config.reference is not None)
    check_size(suite, sets, count, backbone.features, evaluator.width, Path(config.paths.cache) / "generated")
    if config.reference is not None:
        check_reference(config, source, backbone)
        load_reference(config, backbone)
    return evaluator, sets


def prompt_sets(
    config: DictConfig, source: DatasetSource, concept: Concept, unit: int
) -> tuple[Partition, list[PromptSet]]:
    """The partition of the suite's split, and the prompt sets made from it."""
    actions = detector_concepts(concept)
    split = str(config.suite.split)
    sides = measured_partition(config, source, split, concept, actions)
    sets = build_sets(
        source.clips(split, sides.forget),
        source.clips(split, sides.retain),
        concept,
        actions,
        limits=OmegaConf.to_container(config.suite.limits, resolve=True),  # type: ignore[arg-type]
        unit=unit,
        seed=int(config.seed),
    )
    return sides, sets


def _context(
    config: DictConfig,
    concept: Concept,
    source: DatasetSource,
    sides: Partition,
    evaluator: Evaluator,
    suite: Suite,
    backbone: MotionBackbone,
) -> dict[str, Any]:
    seed, counts = int(config.seed), {"forget": len(sides.forget), "retain": len(sides.retain)}
    return {
        "title": f"{config.run_name} on {source.name}",
        "concept": concept.name,
        "dataset": source.name,
        "data_fingerprint": source.fingerprint,
        "partition": {"split": suite.split, "hash": sides.hash, **counts},
        "evaluator": evaluator.name,
        "evaluator_fingerprint": evaluator.fingerprint,
        "evaluator_width": evaluator.width,
        "statistics": "motions in real units; model and evaluator each use their own mean and std",
        "r_precision_pool": getattr(suite.metrics.get("r_precision"), "pool", None),
        "gallery": suite.gallery,
        "gallery_holds_own_clip": suite.gallery_self if suite.gallery else None,
        "repeats": suite.repeats,
        "seeds": list(range(seed, seed + suite.repeats)),
        "bootstrap": suite.bootstrap,
        "reference": None if config.reference is None else folder_name(Path(config.reference)),
        "guidance": suite.guidance,
        "steps": suite.steps,
        "batch_size": suite.batch_size,
        "backbone": backbone.name,
        "made_with": {group: choice(group, config) for group in ("backbone", "method") if choice(group, config)},
        "reads_text": backbone.reads_text,
    }


def folder_name(path: Path) -> str:
    """Names a run folder in reports, which are shown to others: without the folders above it."""
    home = path.resolve()
    return home.parent.name if home.name == "model" else home.name


def _edited(edits: Sequence[tuple[Edit, float]]) -> str:
    """What the edits make of the model: one that was taught the concept alone is not an unlearned one."""
    taught = bool(edits) and all(edit.settings.get("mode") == "specialise" and scale > 0 for edit, scale in edits)
    return "specialised" if taught else "unlearned"


def digest(edit: Edit) -> str:
    """Identity of what an edit does: its kind, its tensors and, of an adapter, rank and alpha."""
    found = hashlib.sha256(repr([edit.meta.get(key) for key in ("kind", "rank", "alpha")]).encode())
    for name, tensor in sorted(edit.tensors.items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def torch_device(name: str) -> torch.device:
    """``auto`` is the GPU if there is one.

    Raises:
        ConfigError: no device of torch's, or one that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        if name.partition(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
            reason = "no such kind of device"
        raise ConfigError(f"device={shown(name)} cannot be used here ({reason}): give auto, cpu or cuda") from None
