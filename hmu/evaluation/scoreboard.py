"""Forget, Keep, Hold: three numbers between 0 and 1 that are always shown together."""

from __future__ import annotations

import math
import statistics
from typing import Any

from hmu.evaluation.results import Results, Row

SOMETHING = 0.1  #: a Forget below leaves nothing to hold
ATTACKS = ("explicit", "paraphrase", "typo", "implicit", "compositional")


def scoreboard(results: Results) -> dict[str, Any]:
    """The three numbers of the unlearned model, None where they are unknown, and what they were made of.

    * ``forget``: median recovery on the forget set over the numbers whose metrics declare ``scores`` ``forget``, each
      clipped to [0, 1]; ``overshoot`` names the metrics beyond 1. Needs a reference.
    * ``keep``: 1 - mean harm on the retain set over those that declare ``keep``. Harm is the relative change against
      the base in the bad direction (either direction where a metric should stay), at most 1. Needs no reference.
    * ``hold``: 1 - the largest loss of ``forget`` on any set of :data:`ATTACKS`; ``weakest`` names that set. None
      below :data:`SOMETHING`: a model that has forgotten nothing also loses nothing.
    * ``harmonic``: harmonic mean of the three, for sorting only.
    """
    board: dict[str, Any] = {"forget": None, "keep": None, "hold": None, "harmonic": None}
    parts, harm = recoveries(results, "forget"), harms(results)
    board.update(forget_parts=parts, overshoot=sorted(name for name, value in parts.items() if value > 1))
    board.update(keep_parts={name: 1 - lost for name, lost in harm.items()}, hold_parts={}, weakest=None)
    if harm:
        board["keep"] = 1 - statistics.fmean(harm.values())
    if not parts:
        return board
    board["forget"] = _score(parts)
    under = {name: _score(of_set) for name in ATTACKS if (of_set := recoveries(results, name))}
    if under:
        board["hold_parts"], board["weakest"] = under, min(under, key=lambda name: under[name])
        if board["forget"] >= SOMETHING:
            board["hold"] = 1 - max(0.0, board["forget"] - min(under.values()))
    three = [board[name] for name in ("forget", "keep", "hold")]
    if None not in three:
        board["harmonic"] = statistics.harmonic_mean(three)
    return board


def recoveries(results: Results, set_: str) -> dict[str, float]:
    """Recovery on a set of every metric that decides whether the concept is forgotten, where it is known.

    Of labelled numbers the concept's own counts.
    """
    labels = (None, str(results.context.get("concept", "")))
    return {
        row.metric: row.recovery
        for row in results.rows
        if (row.model, row.set) == ("unlearned", set_) and "forget" in row.scores and row.label in labels
        if row.recovery is not None
    }


def kept_metrics(results: Results) -> list[str]:
    """What Keep is made of: the numbers of the retain set whose metrics declare ``scores`` ``keep``."""
    rows = [row for row in results.rows if (row.set, row.label) == ("retain", None) and "keep" in row.scores]
    return list(dict.fromkeys(row.metric for row in rows))


def harms(results: Results) -> dict[str, float]:
    """By metric, how much worse than the base the retain set is answered, 0 … 1."""
    by_metric = {}
    for metric in kept_metrics(results):
        before, after = (results.get(model, "retain", metric) for model in ("base", "unlearned"))
        if before is not None and after is not None and before.value and math.isfinite(before.value + after.value):
            by_metric[metric] = _harm(before, after)
    return by_metric


def _harm(before: Row, after: Row) -> float:
    change = (after.value - before.value) / abs(before.value)
    sign = {"lower": 1.0, "higher": -1.0}.get(before.direction)
    return clipped(abs(change) if sign is None else sign * change)


def _score(parts: dict[str, float]) -> float:
    return statistics.median(map(clipped, parts.values()))


def clipped(value: float) -> float:
    """Into 0 … 1."""
    return min(1.0, max(0.0, value))
