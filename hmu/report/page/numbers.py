"""Rows of an evaluation, found by name, and written as a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from hmu.metrics.declared import is_share
from hmu.report.page.markup import Content, Markup, el
from hmu.viz.plots import RateRow

ARROWS = {"lower": "↓", "higher": "↑", "same": "=", "reference": "→"}
MODELS = {"base": "Base", "unlearned": "Unlearned", "reference": "Reference", "real": "Real clip"}
MODELS |= {"specialised": "Specialised"}
TAUGHT = {"unlearned": "specialised"}  #: what rows call the edited model, and what it is if it was taught the concept
SETS = {
    "forget": "Forget",
    "paraphrase": "Paraphrased",
    "implicit": "Implicit",
    "explicit": "Explicit",
    "typo": "Misspelled",
    "compositional": "Compositional",
    "neighbours": "Neighbours",
    "retain": "Retain",
}
THIN = "\u202f"  #: a narrow space that does not break
_NAMES = {
    "fid": "FID",
    "kernel_distance": "Kernel distance",
    "mm_dist": "MM-Dist",
    "diversity": "Diversity",
    "diversity_real": "Diversity of real clips",
    "multimodality": "Multimodality",
    "detector_rate": "Detected",
    "mm_safe_clean": "MM-Safe",
    "mm_safe_hmu": "MM-Safe (hmu)",
    "toxic_distance_clean": "Toxic distance",
    "toxic_distance_hmu": "Toxic distance (hmu)",
    "notox_accuracy_clean": "Non-toxic accuracy",
    "notox_accuracy_hmu": "Non-toxic accuracy (hmu)",
}


class Measured(RateRow, Protocol):
    """What the page needs of a row of ``metrics.json``."""

    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def direction(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


Key = tuple[str, str, "str | None"]  #: set, metric, label


class Numbers:
    """All rows by model and (set, metric, label), in the order in which they came.

    ``renamed``: models that the page calls otherwise than the rows do.
    """

    def __init__(self, rows: Iterable[Measured], renamed: Mapping[str, str] | None = None) -> None:
        self.rows = list(rows)
        names = {row.model: (renamed or {}).get(row.model, row.model) for row in self.rows}
        self.models = list(names.values())
        self.sets = list(dict.fromkeys(row.set for row in self.rows))
        self._found = {(names[row.model], row.set, row.metric, row.label): row for row in self.rows}

    def get(self, model: str, set_: str, metric: str, label: str | None = None) -> Measured | None:
        """The row if it was measured and has a value."""
        row = self._found.get((model, set_, metric, label))
        return row if row is not None and math.isfinite(row.value) else None

    def line(self, set_: str, metric: str, label: str | None = None) -> dict[str, Measured]:
        """One number of every model that has it."""
        found = {model: self.get(model, set_, metric, label) for model in self.models}
        return {model: row for model, row in found.items() if row is not None}

    def arrow(self, key: Key) -> str:
        """Where the number should go; towards a reference that was measured, also whether that is up or down."""
        line = self.line(*key)
        direction = next((row.direction for row in line.values()), "")
        base, reference = line.get("base"), line.get("reference")
        if direction != "reference" or base is None or reference is None or base.value == reference.value:
            return ARROWS.get(direction, "")
        return ARROWS["reference"] + ARROWS["higher" if reference.value > base.value else "lower"]

    def keys(self, set_: str) -> list[Key]:
        """What was measured on a set."""
        return list(dict.fromkeys((row.set, row.metric, row.label) for row in self.rows if row.set == set_))


def figure(value: float | None, metric: str) -> str:
    """A value with as many digits as say something."""
    if value is None or not math.isfinite(value):
        return "–"
    if is_share(metric):
        return _minus(f"{100 * value:.1f}{THIN}%")
    return _minus(f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def whole(value: float, metric: str) -> str:
    """The same for headlines: whole percents."""
    return f"{100 * value:.0f}{THIN}%" if is_share(metric) else figure(value, metric)


def interval(row: RateRow, metric: str) -> str:
    """``low – high`` or nothing."""
    if row.low is None or row.high is None:
        return ""
    low = figure(row.low, metric).removesuffix(f"{THIN}%")
    mark = "†" if getattr(row, "interval", "") == "repeats" else ""  # the legend says what that leaves out
    return f"{low} – {figure(row.high, metric)}{mark}"


def model_name(model: str) -> str:
    """What the page calls a model."""
    return MODELS.get(model, model)


def set_name(set_: str) -> str:
    """What the page calls a prompt set."""
    return SETS.get(set_, set_.replace("_", " ").capitalize())


def metric_name(metric: str, label: str | None = None) -> str:
    """What the page calls a metric."""
    plain = re.sub(r"^r_precision_(\d+)$", r"R-precision @\1", metric)
    plain = re.sub(r"^(min_)?ncs@", lambda found: "NCS, best repeat @" if found[1] else "NCS @", plain).replace(
        "_", " "
    )
    name = _NAMES.get(metric, plain[:1].upper() + plain[1:])
    if label is None:
        return "Asked-for action detected" if metric == "detector_rate" else name
    return f"‘{label.replace('_', ' ')}’ detected" if metric == "detector_rate" else f"{name}, {label}"


def kind(model: str) -> str:
    """The class that gives a model its colour."""
    if model == "specialised":
        return "unlearned"
    return model if model in MODELS else "other"


def tag(model: str, *content: Content) -> Markup:
    """Text in a model's colour."""
    return el("span", *content, class_=f"model {kind(model)}")
