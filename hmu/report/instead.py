"""What is generated instead of the concept: detector labels and nearest captions, before and after, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.escaping import markdown_text
from hmu.evaluation.detecting import joints_of, sees_joints
from hmu.evaluation.sets import PromptSet
from hmu.metrics.motion_search import Hit
from hmu.motion import detectors

NOTHING, OTHER = "(nothing known)", "(another caption)"
SHOWN = 5  # captions that are listed


@dataclass(frozen=True)
class Confusion:
    """How often the base's label (rows) became the other model's label (columns) on equal prompts and noise.

    Attributes:
        labels: of rows and columns, the concept first.
        counts: ``(labels, labels)``.
    """

    labels: tuple[str, ...]
    counts: Tensor

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"labels": list(self.labels), "counts": self.counts.tolist()}

    def markdown(self, before: str, after: str) -> list[str]:
        """Lines of a table; empty rows and columns are left out, the last column tells the row's sum."""
        rows = [i for i in range(len(self.labels)) if int(self.counts[i].sum())]
        columns = [j for j in range(len(self.labels)) if int(self.counts[:, j].sum())]
        head = [markdown_text(f"{before} ↓ / {after} →"), *(markdown_text(self.labels[j]) for j in columns), "sum"]
        lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
        for i in rows:
            cells = [str(int(self.counts[i, j])) or "" for j in columns]
            total = str(int(self.counts[i].sum()))
            row = [markdown_text(self.labels[i]), *("" if c == "0" else c for c in cells), total]
            lines.append("| " + " | ".join(row) + " |")
        return lines


def confusion(before: Sequence[str], after: Sequence[str], first: str) -> Confusion:
    """Pairs of labels as a table; ``first`` comes first, then labels by how often they occur."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} labels before, {len(after)} after: they must be of the same motions")
    often = Counter([*before, *after])
    labels = sorted(often, key=lambda label: (label != first, -often[label], label))
    index = {label: i for i, label in enumerate(labels)}
    counts = torch.zeros(len(labels), len(labels), dtype=torch.int64)
    for pair in zip(before, after, strict=True):
        counts[index[pair[0]], index[pair[1]]] += 1
    return Confusion(tuple(labels), counts)


def primary(seen: Mapping[str, Tensor], first: str, common: Mapping[str, float], none: str) -> list[str]:
    """One label per row: ``first`` where it is among those seen, else the one that is least common, else ``none``.

    ``seen``: by label, bool ``(rows,)``; ``common``: how often each label is seen over everything compared.
    """
    order = sorted(seen, key=lambda label: (label != first, common[label], label))
    if not order:
        return []
    table = torch.stack([seen[label].bool() for label in order], 1)
    chosen = torch.where(table.any(1), table.int().argmax(1), len(order))
    return [[*order, none][i] for i in chosen.tolist()]


def detected(motions: Sequence[Tensor], lengths: Tensor, actions: Mapping[str, Concept]) -> dict[str, Tensor]:
    """Which detector sees what in the motions of all repeats, bool ``(repeats * prompts,)`` by action."""
    frames = lengths.numpy()
    found: dict[str, list[np.ndarray]] = {}
    for motion in motions:
        seen = detectors.detect_each({str(a.detector) for a in actions.values()}, joints_of(motion), frames)
        for name, action in actions.items():
            found.setdefault(name, []).append(seen[str(action.detector)])
    return {name: torch.from_numpy(np.concatenate(parts)).bool() for name, parts in found.items()}


def named(captions: Sequence[str], actions: Mapping[str, Concept]) -> dict[str, Tensor]:
    """Which action each caption names, bool ``(captions,)`` by action."""
    return {k: torch.tensor([bool(a.find(text)) for text in captions], dtype=torch.bool) for k, a in actions.items()}


def instead(
    prompts: PromptSet,
    motions: Mapping[str, Sequence[Tensor]],
    hits: Mapping[str, Sequence[Sequence[Sequence[Hit]]]],
    concept: Concept,
    actions: Mapping[str, Concept],
) -> dict[str, Any]:
    """Everything that is told about one set, as plain values.

    Args:
        prompts: the set.
        motions: by model, of every repeat ``(prompts, frames, features)``; the first model is the base.
        hits: by model, per repeat and prompt what a gallery answered; empty where none was asked.
        concept: comes first among the labels.
        actions: concepts with a detector, by name.

    Returns:
        ``seen`` and ``captions``: by model other than the first its :class:`Confusion` with the first;
        ``nearest``: by model the captions found most often first, with their share.
    """
    told: dict[str, Any] = {
        "set": prompts.name,
        "concept": concept.name,
        "models": list(motions),
        "prompts": len(prompts),
    }
    if sees_joints(next(iter(motions.values()))[0]):
        rules = {name: action for name, action in actions.items() if action.detector}
        seen = {model: detected(found, prompts.lengths, rules) for model, found in motions.items()}
        told["seen"] = _compared(seen, concept.name, NOTHING)
    best = {m: [h[0].description for repeat in found for h in repeat if h] for m, found in hits.items() if found}
    if best:
        known = {**actions, concept.name: concept}
        told["captions"] = _compared({m: named(texts, known) for m, texts in best.items()}, concept.name, OTHER)
        told["nearest"] = {
            model: [{"caption": text, "share": n / len(texts)} for text, n in Counter(texts).most_common(SHOWN)]
            for model, texts in best.items()
        }
    return told


def _compared(found: Mapping[str, Mapping[str, Tensor]], first: str, none: str) -> dict[str, Any]:
    """By model other than the base, the table of its labels against the base's; the base alone against itself."""
    labels = next(iter(found.values())).keys()
    common = {label: float(torch.cat([table[label] for table in found.values()]).double().mean()) for label in labels}
    chosen = {model: primary(table, first, common, none) for model, table in found.items()}
    base, *others = chosen
    return {m: confusion(chosen[base], chosen[m], first).to_json() for m in (others or [base])}


def tell(found: Mapping[str, Any]) -> list[str]:
    """Markdown lines of one :func:`instead`."""
    base = found["models"][0]
    lines = [f"## What is generated instead ({found['set']}: {found['prompts']} prompts)", ""]
    for key, words in (("seen", "What the detectors see"), ("captions", "What the nearest real clip's caption names")):
        for model, table in found.get(key, {}).items():
            made = Confusion(tuple(table["labels"]), torch.tensor(table["counts"]))
            lines += [f"{words}, motion by motion (one label each, the rarer one where several fit):", ""]
            lines += [*made.markdown(base, model), ""]
    for model, listed in found.get("nearest", {}).items():
        quoted = "; ".join(f"“{markdown_text(item['caption'])}” {100 * item['share']:.0f} %" for item in listed)
        lines += [f"Nearest captions of *{markdown_text(model)}*: {quoted}.", ""]
    return lines
