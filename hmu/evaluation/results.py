"""The contract of ``metrics.json``: rows of numbers that each know their model, set, count, repeats and interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from hmu.documents import read_json, write_json
from hmu.errors import DataError, shown
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.declared import value_named
from hmu.metrics.intervals import t_interval, wilson_interval
from hmu.metrics.values import BETTER, KINDS, Value

SCHEMA = 1
_NAMES = ("model", "set", "metric", "direction", "interval", "kind", "title")  # of a row: text
_LISTS = ("values", "scores", "headline")


@dataclass(frozen=True)
class Row:
    """One number, and what its metric declares of it (:class:`~hmu.metrics.values.Value`).

    A row that does not say its ``kind`` (of version 0.1) is what the metrics of ``hmu.metrics`` declare for its name.

    Attributes:
        model: ``base``, ``unlearned`` or ``reference``.
        set: which prompts: ``forget``, ``retain``, ``neighbours``, ``paraphrase``, ``implicit`` …
        metric: ``fid``, ``detector_rate`` …; label: the detected action, where the metric is one of several.
        value: mean over repeats; low, high: 95 % interval (None where one repeat cannot tell).
        interval: what that comes from: ``bootstrap`` over prompts; ``wilson``, of a share; ``repeats``,
            Student's t over repeats, which knows nothing of the choice of prompts; empty where there is none.
        n: prompts; repeats: independent generations of every prompt.
        direction: what is good on this set: ``lower``, ``higher``, ``same`` (as the base) or ``reference``.
        kind: ``share``, ``size``, ``ratio``, ``unbiased`` or ``number`` (:data:`hmu.metrics.values.KINDS`); title: what
            people read, label included; scores: where it counts on the scoreboard, ``forget`` and ``keep``; headline:
            of which of these sides it stands in short tables; ratio_to_base: whether ``<metric>_ratio`` is beside it.
        values: the value of every repeat.
        boot_low, boot_high: 95 % interval under resampling of prompts, None where the metric cannot tell.
        recovery: (value - base) / (reference - base), with the 95 % interval recovery_low, recovery_high of a bootstrap
            over prompts that is paired across the models; None without a reference, and where base and reference do
            not differ by more than chance.
        drift: (value - base) in units of half the base's interval; None on the forget side.
    """

    model: str
    set: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    repeats: int = 1
    label: str | None = None
    direction: str = "reference"
    values: tuple[float, ...] = ()
    boot_low: float | None = None
    boot_high: float | None = None
    recovery: float | None = None
    recovery_low: float | None = None
    recovery_high: float | None = None
    drift: float | None = None
    interval: str = ""
    kind: str = ""
    title: str = ""
    scores: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    ratio_to_base: bool = False

    def __post_init__(self) -> None:
        if not self.kind:
            for key, value in declaration(value_named(self.metric, self.label)).items():
                object.__setattr__(self, key, value)

    @property
    def is_share(self) -> bool:
        """Whether it lies in 0 … 1 and people read it in percent."""
        return self.kind == "share"

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Identifies the row among those of one model."""
        return (self.set, self.metric, self.label)


@dataclass(frozen=True)
class Results:
    """All rows of an evaluation, and the circumstances without which they mean nothing.

    Attributes:
        context: how it was measured; rows: the numbers.
        scoreboard: Forget, Keep and Hold (:func:`hmu.evaluation.scoreboard.scoreboard`), empty in old files.
    """

    context: Mapping[str, Any]
    rows: Sequence[Row]
    scoreboard: Mapping[str, Any] = field(default_factory=dict)

    def get(self, model: str, set_: str, metric: str, label: str | None = None) -> Row | None:
        """The row, or None where it was not measured."""
        key = (set_, metric, label)
        return next((row for row in self.rows if row.model == model and row.key == key), None)

    def save(self, path: Path) -> None:
        """Write ``metrics.json`` atomically; NaN becomes null."""
        rows = [{k: _finite(v) for k, v in asdict(row).items()} for row in self.rows]
        board = {k: _finite(v) for k, v in self.scoreboard.items()}
        write_json(path, {"schema": SCHEMA, "context": dict(self.context), "scoreboard": board, "rows": rows})

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a ``metrics.json``; DataError where it is broken, of a newer schema, or holds values of other types."""
        try:
            data = read_json(path)
        except DataError as error:
            said = str(error).removeprefix(f"{path}: ")
            raise DataError(f"'{path}' is not a metrics.json of hmu: {said}") from error
        try:
            if data["schema"] != SCHEMA:
                raise DataError(f"'{path}' has schema {shown(data['schema'])}; this hmu reads {SCHEMA}")
            context, board = data["context"], data.get("scoreboard", {})
            if not isinstance(context, dict) or not isinstance(board, dict):
                raise TypeError("context and scoreboard must be mappings")
            rows = [_row(row, number) for number, row in enumerate(data["rows"])]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"'{path}' is not a metrics.json of hmu: {shown(error, 150)}") from error
        return cls(context, rows, board)


def _row(entry: Any, number: int) -> Row:
    """A row of the file, ``number`` in messages. TypeError or KeyError for values of another type, or other keys."""
    if not isinstance(entry, dict):
        raise TypeError(f"row {number} is no mapping")
    lists = {key: tuple(entry[key]) for key in _LISTS if key in entry}
    row = Row(**{**entry, "value": math.nan if entry["value"] is None else entry["value"], **lists})
    for key, value in asdict(row).items():
        parts = value if key in _LISTS else (value,)
        if key == "ratio_to_base":
            fits = isinstance(value, bool)
        elif key in _NAMES or key in ("scores", "headline") or (key == "label" and value is not None):
            fits = all(isinstance(v, str) for v in parts)
        else:  # null stands for NaN among the values, and for what is not known elsewhere
            fits = all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in parts)
        known = {"direction": BETTER, "kind": KINDS}.get(key)
        if not fits or (value is None and key in ("n", "repeats")) or (known and value not in known):
            raise TypeError(f"row {number} has {key} {shown(repr(value))}")
    return row


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def declaration(value: Value) -> dict[str, Any]:
    """The fields of a row that come from what its metric declares."""
    return {key: getattr(value, key) for key in ("kind", "title", "scores", "headline", "ratio_to_base")}


def summarise(
    model: str,
    set_: str,
    metric: str | Value,
    values: Iterable[float],
    n: int,
    *,
    label: str | None = None,
    share: bool = False,
    direction: str | None = None,
) -> Row:
    """Turn one metric's value per repeat into a row; ``share``: the values are rates of hits over ``n`` prompts each.

    Repeats of a prompt are no independent answers: a share counts its prompts once. Student's interval of the others
    knows nothing of 0 and 1; the impossible part is cut off.

    Args:
        metric: what its metric declares, or the name of a number that ``hmu.metrics`` declares.
        share: whether every prompt is a hit or none, so that Wilson's interval holds without a bootstrap.
        direction: what is good on this set; None = as declared for sets of its side.
    """
    value = value_named(metric, label) if isinstance(metric, str) else metric
    listed = tuple(map(float, values))
    finite = [v for v in listed if math.isfinite(v)]
    mean = fmean(finite) if finite else math.nan
    edges, interval = t_interval(finite), "repeats"
    if share and finite:
        edges, interval = wilson_interval(mean * n, n), "wilson"
    low, high = possible(value.kind, *edges)
    good = direction or (value.forget if set_ in FORGET_SIDE else value.better)
    name, interval = value.name, interval if low is not None else ""
    row = Row(model, set_, name, mean, low, high, n, len(listed), label, good, listed, interval=interval)
    return replace(row, **declaration(value))


def possible(kind: str, low: float, high: float) -> tuple[float | None, float | None]:
    """An interval without what the kind of number cannot be (:mod:`hmu.metrics.values`); None where it is NaN."""
    if kind in ("share", "size", "ratio"):
        low = max(low, 0.0)
    if kind == "share":
        high = min(high, 1.0)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def relative_change(before: Row, after: Row) -> float | None:
    """``after / before - 1``; None from 0, and of an unbiased estimate, which varies around 0."""
    if before.value == 0 or before.kind == "unbiased":
        return 0.0 if after.value == before.value else None
    return after.value / before.value - 1
