"""The contract of ``metrics.json``: rows of numbers that each know their model, set, count, repeats and interval."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hmu.errors import DataError
from hmu.run import write_json

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        model: ``base``, ``unlearned`` or ``reference``.
        set: which prompts: ``forget``, ``retain``, ``neighbours``, ``paraphrase``, ``implicit`` …
        metric: ``fid``, ``detector_rate`` …; label: the detected action, where the metric is one of several.
        value: mean over repeats; low, high: 95 % interval (None where one repeat cannot tell).
        n: prompts; repeats: independent generations of every prompt.
        direction: what is good on this set: ``lower``, ``higher``, ``same`` (as the base) or ``reference``.
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

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Identifies the row among those of one model."""
        return (self.set, self.metric, self.label)


@dataclass(frozen=True)
class Results:
    """All rows of an evaluation, and the circumstances without which they mean nothing."""

    context: Mapping[str, Any]
    rows: Sequence[Row]

    def get(self, model: str, set_: str, metric: str, label: str | None = None) -> Row | None:
        """The row, or None where it was not measured."""
        wanted = (set_, metric, label)
        return next((row for row in self.rows if row.model == model and row.key == wanted), None)

    def save(self, path: Path) -> None:
        """Write ``metrics.json`` atomically; NaN becomes null."""
        rows = [{k: _finite(v) for k, v in asdict(row).items()} for row in self.rows]
        write_json(path, {"schema": SCHEMA, "context": dict(self.context), "rows": rows})

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a ``metrics.json``.

        Raises:
            DataError: when it is missing, broken, or of a newer schema.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["schema"] != SCHEMA:
                raise DataError(f"'{path}' has schema {data['schema']}; this hmu reads {SCHEMA}")
            rows = [
                Row(
                    **{
                        **row,
                        "value": math.nan if row["value"] is None else row["value"],
                        "values": tuple(row.get("values", ())),
                    }
                )
                for row in data["rows"]
            ]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"'{path}' is not a metrics.json of hmu: {error}") from error
        return cls(data["context"], rows)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


# two-sided 95 % quantiles of Student's t for 1 … 30 degrees of freedom
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % t-interval over repeats; no interval from a single repeat."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return math.nan, None, None
    mean = math.fsum(finite) / len(finite)
    if len(finite) < 2:
        return mean, None, None
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in finite) / (len(finite) - 1))
    half = (_T[len(finite) - 2] if len(finite) - 2 < len(_T) else 1.96) * deviation / math.sqrt(len(finite))
    return mean, mean - half, mean + half


def wilson(rate: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share; unlike the t-interval it does not vanish at 0 % and 100 %."""
    if n <= 0:
        return math.nan, math.nan
    z = 1.96
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, rate * (1 - rate) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def summarise(
    model: str,
    set_: str,
    metric: str,
    values: Iterable[float],
    n: int,
    *,
    label: str | None = None,
    share: bool = False,
    direction: str = "reference",
) -> Row:
    """Turn one metric's value per repeat into a row. ``share``: the values are rates over ``n`` prompts each."""
    listed = tuple(float(v) for v in values)
    mean, low, high = interval(listed)
    if share and math.isfinite(mean):
        low, high = wilson(mean, n * len(listed))
    return Row(model, set_, metric, mean, low, high, n, len(listed), label, direction, listed)
