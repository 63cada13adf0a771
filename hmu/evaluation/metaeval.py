"""Metrics measured themselves: how well does each tell a model that knows the concept from one that never saw it?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from hmu.escaping import markdown_text
from hmu.evaluation.counting import Measured


@dataclass(frozen=True)
class Effect:
    """One metric on one set.

    Attributes:
        set, metric, label: which; base, reference: its values; n: prompts; repeats: of every prompt.
        cohen: Cohen's d over repeats, ``(reference - base) / pooled standard deviation``; None for one repeat.
        auc: chance that a prompt's value is larger under the reference than another prompt's under the base, ties
            counted half: 0.5 tells nothing, 0 and 1 everything; None for a metric that is no mean over prompts.
        z: ``(reference - base)`` in standard errors of that difference, by a bootstrap over prompts that is paired
            across the two models; None without a bootstrap. The measure to rank by: it asks whether the *set* tells.
    """

    set: str
    metric: str
    label: str | None
    base: float
    reference: float
    n: int
    repeats: int
    cohen: float | None
    auc: float | None
    z: float | None


def effects(base: Sequence[Measured], reference: Sequence[Measured]) -> list[Effect]:
    """Every metric that both models have, sets in order, the most telling metric of a set first."""
    others = {entry.row.key: entry for entry in reference}
    finite = []
    for ours in base:
        theirs, row = others.get(ours.row.key), ours.row
        if theirs is not None and math.isfinite(row.value) and math.isfinite(theirs.row.value):
            d, u = cohen(row.values, theirs.row.values), auc(ours.prompts, theirs.prompts)
            facts = (*row.key, row.value, theirs.row.value, row.n, row.repeats)
            finite.append(Effect(*facts, d, u, _z(ours, theirs)))
    order = {name: number for number, name in enumerate(dict.fromkeys(e.set for e in finite))}
    return sorted(finite, key=lambda e: (order[e.set], -abs(e.z or 0.0), -abs(e.cohen or 0.0)))


def cohen(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Cohen's d of two samples, positive where the second is larger; None where they have no spread to compare with."""
    if min(len(first), len(second)) < 2:
        return None
    spread = math.sqrt((statistics.variance(first) + statistics.variance(second)) / 2)
    return (statistics.fmean(second) - statistics.fmean(first)) / spread if spread > 0 else None


def auc(first: Tensor | None, second: Tensor | None) -> float | None:
    """The chance that a value of ``second`` ``(m,)`` exceeds one of ``first`` ``(n,)`` (Mann and Whitney's U)."""
    if first is None or second is None:
        return None
    a, b = (x[x.isfinite()].double() for x in (first, second))
    if not len(a) or not len(b):
        return None
    wins = stats.rankdata(torch.cat([a, b]))[len(a) :].sum() - len(b) * (len(b) + 1) / 2
    return float(wins) / (len(a) * len(b))


def _z(base: Measured, reference: Measured) -> float | None:
    if base.draws is None or reference.draws is None:
        return None
    error = float((reference.draws - base.draws).std())
    return (reference.row.value - base.row.value) / error if error > 0 else None


def table(rows: Iterable[Effect]) -> str:
    """Effects as Markdown."""
    lines = ["| set | metric | n | base | reference | d over repeats | AUC over prompts | z |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|--:|")
    for e in rows:
        name = e.metric if e.label is None else f"{e.metric} [{e.label}]"
        cells = [markdown_text(e.set), f"`{name.replace('`', '')}`", str(e.n), f"{e.base:.3g}", f"{e.reference:.3g}"]
        forms = ((e.cohen, "+.1f"), (e.auc, ".2f"), (e.z, "+.1f"))
        cells += ["–" if value is None else f"{value:{form}}" for value, form in forms]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
