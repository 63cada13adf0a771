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
from hmu.outputs import claim_folder
from hmu.tools.sweeping import place_of
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
    from hmu.build import instantiate
    from hmu.checkpoints.store import Store
    from hmu.evaluation.metaeval import effects, table
    from hmu.evaluation.ncs import answering_for
    from hmu.evaluation.suite import Model
    from hmu.methods.edit import fingerprint
    from hmu.run import write_json, write_text
    from hmu.workflows.common import build_backbone, build_evaluator, check_match, seed_everything, settle_concept
    from hmu.workflows.evaluate import with_run
    from hmu.workflows.measure import prompt_sets, torch_device
    from hmu.workflows.reference import check_reference, load_reference

    out = place_of(config)
    place = claim_folder(out, "out", "metaeval", overwrite=config.overwrite)
    config = settle_concept(with_run(config))
    seed_everything(config)
    document = _document(config)
    source = instantiate(config.dataset)
    source.prepare()
    concept = instantiate(config.concept).for_dataset(source.name)
    backbone = build_backbone(config, checkpoint=_weights(str(config.base))).to(torch_device(config.device))
    check_match(backbone, source.features, source.name)
    check_reference(config, source, backbone)
    models = [Model("base", backbone, fingerprint(backbone)), load_reference(config, backbone)]
    evaluator = build_evaluator(config, source).to(torch_device(config.device))
    sides, sets = prompt_sets(config, source, concept, backbone.unit_length)
    cache = Store(Path(config.paths.cache) / "generated")
    suite = instantiate(config.suite)
    galleries = Path(config.paths.cache) / "galleries"
    suite.answering = answering_for(source, suite.gallery, evaluator, suite.gallery_self, galleries)
    measured, _ = suite.measure(models, sets, evaluator, concept, int(config.seed), cache)
    found = effects(measured["base"], measured["reference"])
    circumstances = {
        "concept": concept.name,
        "dataset": source.name,
        "evaluator": evaluator.fingerprint,
        "partition": sides.hash,
        "repeats": suite.repeats,
        "seed": int(config.seed),
        "base": str(config.base),
        "reference": str(config.reference),
    }
    place.begin(["metaeval.json", "metaeval.md"])
    write_json(out / "metaeval.json", {"schema": 1, "context": circumstances, "effects": [asdict(e) for e in found]})
    heading = f"{backbone.name}, '{concept.name}' on {source.name}, {suite.repeats} repeats."
    told = f"{heading}\n\n{table(found)}\n"
    write_text(out / "metaeval.md", told)
    place.finish()
    if document is not None:
        from hmu.tools.detectors_report import fill

        write_text(
            document,
            fill(document.read_text(encoding="utf-8"), "metaeval", f"{heading}\n\n{table(sides_of(found, concept))}\n"),
        )
    log.info("%s\n%s", out / "metaeval.md", told)
    return out / "metaeval.md"


def sides_of(found: Sequence[Effect], concept: Concept) -> list[Effect]:
    """What a page has room for: forget and retain, the detectors' rates over everything and of the concept."""
    return [e for e in found if e.set in ("forget", "retain") and e.label in (None, concept.name)]


def _weights(base: str) -> str:
    """What ``backbone.checkpoint`` takes: the model of a run folder, or the name as it stands."""
    return str(Path(base) / "model") if (Path(base) / "model").is_dir() else base


def _document(config: DictConfig) -> Path | None:
    from hmu.errors import ConfigError

    if config.document is None:
        return None
    if not Path(config.document).is_file():
        raise ConfigError(f"document={config.document} does not exist: run this from the repository's root")
    return Path(config.document)


if __name__ == "__main__":
    main("metaeval", run, Keys)
