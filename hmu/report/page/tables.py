"""Every number of an evaluation as HTML tables, one per prompt set."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hmu.evaluation.results import relative_change
from hmu.report.page.markup import Content, Markup, el
from hmu.report.page.numbers import (
    THIN,
    Key,
    Measured,
    Numbers,
    figure,
    interval,
    kind,
    metric_name,
    model_name,
    set_name,
)

_OWN = ("guidance", "steps")  # of the context: without a value the backbone's own hold
_HASH = re.compile("[0-9a-f]{24,}")
Reals = Mapping[str, Mapping[str, float]]


def tables(numbers: Numbers, titles: Mapping[str, str], real: Reals) -> Markup:
    """A folded table per set; the sets that decide are open.

    Args:
        numbers: the rows.
        titles: headings by set; order of the sets too, others follow.
        real: per set and action what detectors see in the data itself (``real_clips`` of the context).
    """
    order = [name for name in titles if name in numbers.sets] + [name for name in numbers.sets if name not in titles]
    return el("div", [_set(numbers, name, titles.get(name, set_name(name)), real.get(name, {})) for name in order])


def _set(numbers: Numbers, name: str, title: str, real: Mapping[str, float]) -> Markup:
    keys = [key for key in numbers.keys(name) if numbers.line(*key)]
    here = [row for row in numbers.rows if row.set == name]
    # A detector counts the prompts that ask for its action: one may ask for several, or for none.
    count = max(row.n for row in [row for row in here if row.metric != "detector_rate"] or here)
    extra = _extra(numbers, keys)
    seen = any(key[1] == "detector_rate" and (key[2] or "all") in real for key in keys)
    head: list[Content] = [el("th", "metric", scope="col")]
    head += [el("th", model_name(m), scope="col", class_=f"model {kind(m)}") for m in numbers.models]
    head += [el("th", "change", scope="col")] if len(numbers.models) > 1 else []
    head += [el("th", column, scope="col") for column in extra] + (
        [el("th", "real clips", scope="col")] if seen else []
    )
    body = []
    for key in keys:
        cells = [_cell(numbers.get(model, *key)) for model in numbers.models]
        if len(numbers.models) > 1:
            cells.append(el("td", _change(*(numbers.get(m, *key) for m in numbers.models[:2])), class_="number"))
        cells += [_extra_cell(numbers, key, column) for column in extra]
        if seen:
            value = real.get(key[2] or "all") if key[1] == "detector_rate" else None
            cells.append(el("td", "" if value is None else figure(value, key[1]), class_="number faint"))
        body.append(el("tr", el("th", _metric(numbers, key), scope="row", title=_raw(key)), cells))
    table = el("div", el("table", el("thead", el("tr", head)), el("tbody", body)), class_="scroll")
    summary = el("summary", title, el("small", f"{count} prompts") if count else None)
    return el("details", summary, table, open="" if name in ("forget", "retain") else None)


def _metric(numbers: Numbers, key: Key) -> Content:
    return [metric_name(key[1], key[2]), " ", el("span", numbers.arrow(key), class_="faint")]


def _raw(key: Key) -> str:
    return key[1] if key[2] is None else f"{key[1]} [{key[2]}]"


def _cell(row: Measured | None) -> Markup:
    if row is None:
        return el("td", "–", class_="number faint")
    return el("td", figure(row.value, row.metric), el("small", interval(row, row.metric)), class_="number")


def _change(before: Measured | None, after: Measured | None) -> str:
    if before is None or after is None:
        return "–"
    change = relative_change(before, after)
    return "–" if change is None else f"{100 * change:+.0f}{THIN}%".replace("-", "−") if before.value else "="


def _extra(numbers: Numbers, keys: Sequence[Key]) -> list[str]:
    """Columns that rows carry beside their value where a reference was given: only what says something is shown."""
    return [
        column
        for column in ("recovery", "drift")
        if any(
            (column == "recovery" and _alike(numbers, key)) or _value(row, column) is not None
            for key in keys
            for row in numbers.line(*key).values()
        )
    ]


def _alike(numbers: Numbers, key: Key) -> bool:
    """Whether base and reference were compared and do not differ by more than chance, so that nothing is recovered."""
    line = numbers.line(*key)
    compared = [row for model, row in line.items() if model not in ("base", "reference")]
    return {"base", "reference"} <= set(line) and any(_value(row, "recovery") is None for row in compared)


def _value(row: Measured, column: str) -> float | None:
    value: Any = getattr(row, column, None)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _extra_cell(numbers: Numbers, key: Key, column: str) -> Markup:
    values = [(_value(row, column), row) for row in numbers.line(*key).values()]
    value, row = next(((v, r) for v, r in values if v is not None), (None, None))
    if value is None:
        return el("td", "≈" if column == "recovery" and _alike(numbers, key) else None, class_="number")
    low, high = (getattr(row, f"{column}_{end}", None) for end in ("low", "high"))
    spread = "" if low is None or high is None else f"{_two(low)} – {_two(high)}"
    return el("td", _two(value), el("small", spread) if spread else None, class_="number")


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def circumstances(context: Mapping[str, Any]) -> Markup:
    """What a number means nothing without: data, evaluator, counts, seeds."""
    lines = [
        el("div", el("dt", key.replace("_", " ")), el("dd", _words(value), title=_words(value, short=False)))
        for key, value in ((k, "the backbone’s own" if k in _OWN and v is None else v) for k, v in context.items())
    ]
    return el("dl", lines, class_="facts")


def _words(value: Any, short: bool = True) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_words(item, short)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(item, short) for item in value)
    text = "none" if value is None else str(value)
    return f"{text[:12]}…" if short and _HASH.fullmatch(text) else text
