"""What the numbers of an evaluation may be called: one place decides it for every headline, table and terminal line.

A percentage of forgetting says something only if the base showed the concept, the judge sees it in real clips, the
base answers the other prompts too, and all of that was measured on data that are like those it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from hmu.evaluation.results import Results, Row
from hmu.metrics.detector_rate import RATE
from hmu.metrics.intervals import wilson_interval

BASIS = 0.5  #: a base that shows the concept in a smaller share of its answers leaves nothing to be forgotten
KNOWN, SEEN = 0.8, 5  #: an action is offered if the base shows it in this share of at least so many answers
FEW = 20  #: prompts below which a share is never reported without its interval
FAR = 0.6  #: standard deviations between data and training data; measured: own data 0.0 to 0.3, others' 0.9 to 1.4
ASTRAY = 0.3  #: base's FID over the variance of real motions; measured: 0.01 on its own data, 0.4 to 0.8 on others'
MANY = 40  #: motions below which FID is large by itself
OFFERED = 5


def objections(results: Results) -> list[str]:
    """Why nothing may be claimed of the unlearned model, weightiest first; empty = the numbers stand for themselves.

    Judged by the base's own rows and ``data_distance`` of the context, so it can be asked before anything is unlearned.
    """
    return [*_strange(results), *_no_basis(results), *_no_judge(results), *_nothing_to_keep(results)]


def _strange(results: Results) -> Iterator[str]:
    distance = results.context.get("data_distance")
    if isinstance(distance, (int, float)) and distance > FAR:
        yield (
            f"the data are not like those the base was trained on ({distance:.1f} standard deviations off, "
            f"up to {FAR:g} is usual)"
        )
        return
    fid, spread = results.get("base", "retain", "fid"), results.get("base", "retain", "diversity_real")
    if fid is None or spread is None or fid.n < MANY or not spread.value:
        return
    share = 2 * fid.value / spread.value**2  # two draws of a Gaussian lie the square root of twice its trace apart
    if share > ASTRAY:
        yield f"the base's motions are far from these data (retain FID {fid.value:.3g}, {share:.0%} of their spread)"


def _no_basis(results: Results) -> Iterator[str]:
    before, concept = _concept_rate(results, "base"), _concept(results)
    taught = results.context.get("edited") == "specialised"  # then it is the edit that shall show it
    if results.context.get("reads_text", True) and not taught and before is not None and before.value < BASIS:
        yield f"asked for '{concept}', the base shows it in only {rate(before)} of motions: no basis for unlearning"


def _no_judge(results: Results) -> Iterator[str]:
    real = _of_real_clips(results, "forget", _concept(results))
    if results.context.get("reads_text", True) and real is not None and real < BASIS:
        yield f"the detector sees '{_concept(results)}' in only {real:.0%} of the real clips of it"


def _nothing_to_keep(results: Results) -> Iterator[str]:
    before = results.get("base", "retain", RATE)
    real = _of_real_clips(results, "retain", "all")
    if before is not None and before.value < BASIS * (1.0 if real is None else real):
        yield f"of the other actions the base shows only {rate(before)} where asked for, so 'kept' says little"


def known_actions(results: Results) -> list[Row]:
    """Actions other than the concept that the base shows where it is asked for them, the surest first."""
    rows = [
        row
        for row in results.rows
        if (row.model, row.set, row.metric) == ("base", "retain", RATE)
        and row.label not in (None, _concept(results))
        and row.value >= KNOWN
        and row.n >= SEEN
    ]
    return sorted(rows, key=lambda row: (-row.value, -row.n, str(row.label)))


def offer(results: Results) -> str:
    """Which concepts the base does show, as far as its answers tell; empty where there is nothing to offer."""
    rows = known_actions(results)[:OFFERED]
    if not rows or not any(_no_basis(results)):
        return ""
    return "it does show " + ", ".join(f"{row.label} ({row.value:.0%})" for row in rows)


def few(results: Results) -> bool:
    """Whether the concept's prompts, or the others, are too few for shares without intervals."""
    models = ("base", "unlearned")
    rows = [row for m in models for row in (_concept_rate(results, m), results.get(m, "retain", RATE))]
    return any(row.n < FEW for row in rows if row is not None)


def rate(row: Row) -> str:
    """``90%``, and below :data:`FEW` prompts with what that may as well mean: ``100% [61–100, 6 prompts]``."""
    if row.n >= FEW or not math.isfinite(row.value):
        return f"{row.value:.0%}"
    low, high = row.low, row.high
    if low is None or high is None:
        low, high = wilson_interval(row.value * row.n, row.n)
    inside = "" if math.isnan(low) else f"{100 * low:.0f}–{100 * high:.0f}, "
    return f"{row.value:.0%} [{inside}{row.n} prompts]"


def shown_rates(results: Results) -> str:
    """Base and unlearned rate of the concept, with intervals where there are few prompts; empty without a detector."""
    before, after = (_concept_rate(results, model) for model in ("base", "unlearned"))
    if before is None or after is None:
        return ""
    return f"'{_concept(results)}' seen in {rate(before)} before, {rate(after)} after"


def _of_real_clips(results: Results, set_: str, label: str) -> float | None:
    """In how many real clips the judge sees what they are of; a file of others may hold anything there."""
    node: Any = results.context.get("real_clips")
    for key in (set_, label):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, (int, float)) and math.isfinite(node) else None


def _concept(results: Results) -> str:
    return str(results.context.get("concept", "the concept"))


def _concept_rate(results: Results, model: str) -> Row | None:
    row = results.get(model, "forget", RATE, _concept(results))
    return row if row is not None and math.isfinite(row.value) else None
