"""Models beside their base and a retain-only reference: recovery, drift, and ratios to the base.

With ``b`` the base's, ``r`` the reference's and ``u`` the unlearned model's value of a metric on a set,
``recovery = (u - b) / (r - b)``: 0 nothing forgotten, 1 as if never trained on it, above 1 overshoot, below 0 the wrong
way. ``drift = (u - b) / h`` with ``h`` half the width of the base's 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hmu.evaluation.counting import Measured, interval, with_draws
from hmu.evaluation.results import Row, declaration
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.intervals import t_interval
from hmu.metrics.values import Value

Key = tuple[str, str, str | None]


def compare(measured: Mapping[str, Sequence[Measured]]) -> list[Row]:
    """All rows, those of models other than the base with recovery and drift, and the ratios to the base.

    Args:
        measured: by model (``base``, ``unlearned``, ``reference``), in the order of the table.
    """
    tables = {model: {entry.row.key: entry for entry in listed} for model, listed in measured.items()}
    base, reference = tables.get("base", {}), tables.get("reference", {})
    rows: list[Row] = []
    for model, table in tables.items():
        for key, entry in table.items():
            row = _directed(entry.row, key in reference)
            if model != "base" and key in base:
                row = replace(row, drift=_drift(base[key], entry))
                if model != "reference" and key in reference:
                    value, low, high = recovery(base[key], entry, reference[key])
                    row = replace(row, recovery=value, recovery_low=low, recovery_high=high)
            rows.append(row)
        if model != "base":
            rows += _ratios(base, table)
    return rows


def _directed(row: Row, has_reference: bool) -> Row:
    """On the forget side a reference says where a number should go; without it only the concept's rate has a goal.

    What should be kept there (``higher``: the other action of a compositional prompt) keeps its own direction.
    """
    turned = has_reference and row.set in FORGET_SIDE and row.direction != "higher"
    return replace(row, direction="reference") if turned else row


def recovery(base: Measured, model: Measured, reference: Measured) -> tuple[float | None, float | None, float | None]:
    """Recovery and its 95 % interval; all None where base and reference differ by no more than chance."""
    b, u, r = (entry.row.value for entry in (base, model, reference))
    if not all(map(math.isfinite, (b, u, r))) or not separated(base, reference):
        return None, None, None
    value = (u - b) / (r - b)
    if base.draws is None or model.draws is None or reference.draws is None:
        return value, None, None
    low, high = interval(_ratio(model.draws - base.draws, reference.draws - base.draws))
    return value, low, high


def separated(base: Measured, reference: Measured) -> bool:
    """Whether the paired 95 % interval of ``reference - base`` leaves out 0: by bootstrap, else by t over repeats.

    One repeat without a bootstrap cannot tell; any difference counts then.
    """
    if base.draws is not None and reference.draws is not None:
        low, high = interval(reference.draws - base.draws)
    else:
        pairs = zip(base.row.values, reference.row.values, strict=False)
        low, high = t_interval([r - b for b, r in pairs])
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return reference.row.value != base.row.value
    return low > 0 or high < 0


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Quotient of draws; where the divisor is 0 the quotient is as large as numbers get, of the right sign."""
    return torch.nan_to_num(above / below, nan=0.0)


def half_width(entry: Measured) -> float | None:
    """Half the width of a row's 95 % interval: under resampling of prompts where there is one, else its own."""
    row = entry.row
    low, high = (row.boot_low, row.boot_high) if row.boot_low is not None else (row.low, row.high)
    if low is None or high is None or not high > low:
        return None
    return (high - low) / 2


def _drift(base: Measured, model: Measured) -> float | None:
    if base.row.set in FORGET_SIDE:
        return None
    half, change = half_width(base), model.row.value - base.row.value
    return change / half if half is not None and math.isfinite(change) else None


def _ratios(base: Mapping[Key, Measured], table: Mapping[Key, Measured]) -> Iterator[Row]:
    """Rows like ``energy_ratio`` of one model: 1 as the base, near 0 a model that forgets by standing still."""
    for key, entry in table.items():
        before = base.get(key)
        if not entry.row.ratio_to_base or before is None or not before.row.value:
            continue
        pairs = zip(entry.row.values, before.row.values, strict=False)
        values = tuple(u / b for u, b in pairs if b)
        what = Value(entry.row.metric, entry.row.title).ratio()
        row = replace(entry.row, value=entry.row.value / before.row.value, values=values, low=None, high=None)
        row = replace(row, metric=what.name, direction=what.better, **declaration(what))
        draws = None if entry.draws is None or before.draws is None else _ratio(entry.draws, before.draws)
        yield with_draws(row, draws).row
