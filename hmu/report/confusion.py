"""What is generated in place of the concept: detector labels and nearest captions, before and after, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.documents import write_json
from hmu.escaping import markdown_text
from hmu.evaluation.detecting import detector_concepts
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import ByModel, Suite
from hmu.metrics.motion_search import Hit
from hmu.metrics.ncs import write_records
from hmu.motion.representation import Representation
from hmu.report.table import Column, Table

NOTHING, OTHER = "(nothing known)", "(another caption)"
CAPTIONS = 5  # captions that are listed
#: the two tables of ``instead.json``, and what their labels are
TABLES = {"seen": "What the detectors see", "captions": "What the nearest real clip's caption names"}


@dataclass(frozen=True)
class Confusion:
    """How often the base's label (rows) became the other model's label (columns) on equal prompts and noise.

    Attributes:
        labels: of rows and columns, the concept first.
        counts: ``(labels, labels)``.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, before: Sequence[str], after: Sequence[str], first: str) -> Confusion:
        """Count pairs of labels of the same motions; ``first`` comes first, then labels by how often they occur."""
        if len(before) != len(after):
            raise ValueError(f"{len(before)} labels before, {len(after)} after: they must be of the same motions")
        often, pairs = Counter([*before, *after]), Counter(zip(before, after, strict=True))
        labels = sorted(often, key=lambda label: (label != first, -often[label], label))
        return cls(tuple(labels), tuple(tuple(pairs[a, b] for b in labels) for a in labels))

    @property
    def rows(self) -> list[int]:
        """Labels that the base shows."""
        return [i for i, row in enumerate(self.counts) if any(row)]

    def columns(self, most: int | None = None) -> list[list[int]]:
        """Labels that the other model shows, one per column; rare ones share the last beyond ``most``."""
        totals = [sum(row[j] for row in self.counts) for j in range(len(self.labels))]
        labels = [j for j, total in enumerate(totals) if total]
        if most is None:
            return [[j] for j in labels]
        labels.sort(key=lambda j: -totals[j])
        return [[j] for j in labels[:most]] + ([labels[most:]] if labels[most:] else [])

    def count(self, row: int, column: Sequence[int]) -> int:
        """Motions of a row whose label is one of a column's."""
        return sum(self.counts[row][label] for label in column)

    def markdown(self, before: str, after: str) -> list[str]:
        """Lines of a table; empty rows and columns are left out, the last column is the row's sum."""
        columns = self.columns()
        lines = [
            (self.labels[i], *(str(self.count(i, column) or "") for column in columns), str(sum(self.counts[i])))
            for i in self.rows
        ]
        head: list[str | Column] = [
            f"{before} ↓ / {after} →",
            *(Column(self.labels[j]) for (j,) in columns),
            Column("sum"),
        ]
        return Table.of(head, lines).markdown()


def label_of_each(hits: Mapping[str, Tensor], first: str, common: Mapping[str, float], none: str) -> list[str]:
    """One label per row: ``first`` where it was detected, else the least common label that was, else ``none``.

    ``hits``: by label, bool ``(rows,)``; ``common``: how often each label occurs over everything compared.
    """
    order = sorted(hits, key=lambda label: (label != first, common[label], label))
    if not order:
        return []
    table = torch.stack([hits[label].bool() for label in order], 1)
    indices = torch.where(table.any(1), table.int().argmax(1), len(order))
    return [[*order, none][i] for i in indices.tolist()]


def detected(
    motions: Sequence[Tensor], lengths: Tensor, actions: Mapping[str, Concept], representation: Representation
) -> dict[str, Tensor]:
    """Which rule sees what, bool ``(repeats * prompts,)`` by action; actions without a rule are left out.

    ``motions``: of every repeat ``(prompts, frames, features)`` in real units; ``lengths``: true frames ``(prompts,)``.
    """
    rules = {name: rule for name, action in actions.items() if (rule := representation.rule(action)) is not None}
    hits = [representation.detect(set(rules.values()), motion, lengths) for motion in motions]
    return {name: torch.cat([of_repeat[rule] for of_repeat in hits]).bool() for name, rule in rules.items()}


def named(captions: Sequence[str], actions: Mapping[str, Concept]) -> dict[str, Tensor]:
    """Which action each caption names, bool ``(captions,)`` by action."""
    return {k: torch.tensor([bool(a.find(text)) for text in captions], dtype=torch.bool) for k, a in actions.items()}


def confusions(
    prompts: PromptSet,
    motions: Mapping[str, Sequence[Tensor]],
    hits: Mapping[str, Sequence[Sequence[Sequence[Hit]]]],
    concept: Concept,
    actions: Mapping[str, Concept],
) -> dict[str, Any]:
    """The content of ``instead.json``, as plain values.

    Args:
        motions: by model, of every repeat ``(prompts, frames, features)``; the first model is the base.
        hits: by model, per repeat and prompt the clips that a gallery found; empty where none was searched.
        concept: comes first among the labels; actions: concepts with a detector, by name.

    Returns:
        ``seen`` and ``captions``: by model other than the first its :class:`Confusion` with the first;
        ``nearest``: by model the captions found most often first, with their share.
    """
    content: dict[str, Any] = {"set": prompts.name, "concept": concept.name}
    content |= {"models": list(motions), "prompts": len(prompts)}
    representation = prompts.representation
    if representation.captioned and representation.rules:
        labels = {m: detected(of_model, prompts.lengths, actions, representation) for m, of_model in motions.items()}
        content["seen"] = _compared(labels, concept.name, NOTHING)
    best = {m: [h[0].description for repeat in own for h in repeat if h] for m, own in hits.items() if own}
    if best:
        known = {**actions, concept.name: concept}
        content["captions"] = _compared({m: named(texts, known) for m, texts in best.items()}, concept.name, OTHER)
        content["nearest"] = {
            model: [{"caption": text, "share": n / len(texts)} for text, n in Counter(texts).most_common(CAPTIONS)]
            for model, texts in best.items()
        }
    return content


def _compared(hits: Mapping[str, Mapping[str, Tensor]], first: str, none: str) -> dict[str, Any]:
    """By model other than the base, the table of its labels against the base's; the base alone against itself."""
    labels = next(iter(hits.values())).keys()
    common = {label: float(torch.cat([table[label] for table in hits.values()]).double().mean()) for label in labels}
    of_each = {model: label_of_each(table, first, common, none) for model, table in hits.items()}
    base, *others = of_each
    tables = {model: Confusion.of(of_each[base], of_each[model], first) for model in (others or [base])}
    return {model: {"labels": list(t.labels), "counts": [list(row) for row in t.counts]} for model, t in tables.items()}


def tables_of(content: Mapping[str, Any], key: str) -> dict[str, Confusion]:
    """The tables ``key`` (``seen``, ``captions``) of ``instead.json``, by model."""
    return {
        model: Confusion(tuple(table["labels"]), tuple(map(tuple, table["counts"])))
        for model, table in content.get(key, {}).items()
    }


def confusion_markdown(content: Mapping[str, Any]) -> list[str]:
    """Markdown lines of ``instead.json``; none where there is nothing in it."""
    if not content:
        return []
    lines = [f"## What is generated instead ({content['set']}: {content['prompts']} prompts)", ""]
    for key, words in TABLES.items():
        for model, table in tables_of(content, key).items():
            lines += [f"{words}, motion by motion (one label each, the rarer one where several fit):", ""]
            lines += [*table.markdown(content["models"][0], model), ""]
    for model, listed in content.get("nearest", {}).items():
        quoted = "; ".join(f"“{markdown_text(item['caption'])}” {100 * item['share']:.0f} %" for item in listed)
        lines += [f"Nearest captions of *{markdown_text(model)}*: {quoted}.", ""]
    return lines


def write_confusions(
    folder: Path, suite: Suite, sets: Sequence[PromptSet], generated: ByModel, concept: Concept, dataset: str
) -> dict[str, Any]:
    """Write ``instead.json`` and, with a gallery, ``samples/records_<model>.json`` for the forget set; its content.

    Empty without a forget set, or where no detector knows the skeleton and no gallery was searched.
    """
    forget = next((prompts for prompts in sets if prompts.name == "forget"), None)
    if forget is None:
        return {}
    motions = {model: of_model["forget"].motions for model, of_model in generated.items()}
    ncs = suite.ncs
    hits = {} if ncs is None else {model: ncs.hits.get((model, "forget"), []) for model in motions}
    content = confusions(forget, motions, hits, concept, detector_concepts(concept))
    if not set(TABLES) & set(content):
        return {}
    write_json(folder / "instead.json", content)
    if ncs is not None:
        for model in (model for model in motions if hits[model]):
            path = folder / "samples" / f"records_{model}.json"
            heading = {"dataset_name": dataset, "ckpt": model, "split": suite.split, "gallery": suite.gallery}
            write_records(path, ncs.records(model, forget), **heading)
    return content
