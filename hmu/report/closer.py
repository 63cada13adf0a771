"""After the numbers: what is generated instead of the concept, as tables and as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmu.checkpoints.safe import write_json
from hmu.data.concepts import Concept
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Answers, Suite
from hmu.metrics.ncs import write_records
from hmu.report.instead import instead
from hmu.workflows.common import detector_concepts


def look_closer(
    suite: Suite,
    sets: Sequence[PromptSet],
    answers: Mapping[str, Mapping[str, Answers]],
    concept: Concept,
    folder: Path,
    dataset: str,
) -> dict[str, Any]:
    """Write ``instead.json`` and, with a gallery, ``samples/records_<model>.json`` for the forget set.

    Returns:
        what :func:`hmu.report.instead.instead` found; empty without a forget set, or where nothing can tell what a
        motion is.
    """
    forget = next((prompts for prompts in sets if prompts.name == "forget"), None)
    if forget is None:
        return {}
    motions = {model: found["forget"].motions for model, found in answers.items()}
    answering = suite.answering
    hits = {} if answering is None else {m: answering.hits.get((m, "forget"), []) for m in motions}
    found = instead(forget, motions, hits, concept, detector_concepts(concept))
    if not {"seen", "captions"} & set(found):  # no rules for this skeleton, and no gallery
        return {}
    write_json(folder / "instead.json", found)
    if answering is not None:
        for model in (model for model in motions if hits[model]):
            path = folder / "samples" / f"records_{model}.json"
            heading = {"dataset_name": dataset, "ckpt": model, "split": suite.split, "gallery": suite.gallery}
            write_records(path, answering.records(model, forget), **heading)
    return found
