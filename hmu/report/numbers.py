"""What is written about a number, in every format: names of models and prompt sets, arrows, digits, intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from hmu.evaluation.results import Row, relative_change
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.detector_rate import RATE

Key = tuple[str, str, "str | None"]  #: set, metric, label
ARROWS = {"lower": "↓", "higher": "↑", "same": "=", "reference": "→"}
MODELS = {
    "base": "Base",
    "unlearned": "Unlearned",
    "specialised": "Specialised",
    "reference": "Reference",
    "real": "Real clip",
}
#: prompt sets in the order of reports: the short name, and what the set tests
SETS = {
    "forget": ("Forget", "efficacy"),
    "explicit": ("Explicit", "efficacy on sentences of our own"),
    "paraphrase": ("Paraphrased", "efficacy without the keywords"),
    "typo": ("Misspelled", "efficacy beside the keywords"),
    "implicit": ("Implicit", "efficacy without naming the action"),
    "compositional": ("Compositional", "efficacy where another action is asked for too"),
    "neighbours": ("Neighbours", "specificity"),
    "retain": ("Retain", "preservation"),
}
THIN = "\u202f"  #: a narrow space that does not break


def model_name(model: str) -> str:
    """``Base``; models of others keep their name."""
    return MODELS.get(model, model)


def model_look(model: str) -> str:
    """The class of the style sheet that gives a model its colour."""
    return "unlearned" if model == "specialised" else model if model in MODELS else "other"


def set_name(set_: str) -> str:
    """``Paraphrased``."""
    return SETS[set_][0] if set_ in SETS else set_.replace("_", " ").capitalize()


def set_title(set_: str) -> str:
    """``Paraphrased prompts: efficacy without the keywords``; of a set that is not ours its name."""
    if set_ not in SETS:
        return set_name(set_)
    plain = set_ in ("forget", "neighbours", "retain")
    return f"{set_name(set_)}{'' if plain else ' prompts'}: {SETS[set_][1]}"


def raw_name(metric: str, label: str | None = None) -> str:
    """As in ``metrics.json``: ``fid``, ``detector_rate [kick]``."""
    return metric if label is None else f"{metric} [{label}]"


def value_text(value: float | None, kind: str, share_digits: int = 1) -> str:
    """A value with as many digits as say something; shares in percent."""
    if value is None or not math.isfinite(value):
        return "–"
    if kind == "share":
        return f"{100 * value:.{share_digits}f} %"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def edges(row: Row) -> tuple[str, str, str]:
    """Both ends of the interval, empty without one, and † where it is over repeats alone (the legend explains it)."""
    if row.low is None or row.high is None or not math.isfinite(row.value):
        return "", "", ""
    return value_text(row.low, row.kind), value_text(row.high, row.kind), "†" if row.interval == "repeats" else ""


def number(row: Row | None) -> str:
    """``value [low, high]``, with † for an interval over repeats alone."""
    if row is None:
        return "–"
    low, high, mark = edges(row)
    return value_text(row.value, row.kind) + (f" [{low}, {high}]{mark}" if low else "")


def change(before: Row | None, after: Row | None) -> str:
    """``+8 %`` against the base, ``=`` where both are 0, a dash where a relative change says nothing."""
    if before is None or after is None or not math.isfinite(before.value + after.value):
        return "–"
    share = relative_change(before, after)
    return "–" if share is None else f"{100 * share:+.0f} %" if before.value else "="


def arrow(direction: str, base: Row | None = None, reference: Row | None = None) -> str:
    """Where a number should go; towards a reference that was measured, also whether that is above or below the base."""
    sign = ARROWS.get(direction, "")
    if direction != "reference" or base is None or reference is None or reference.value == base.value:
        return sign
    return sign + ARROWS["higher" if reference.value > base.value else "lower"]


def typeset(text: str) -> str:
    """For pages: curved quotes, narrow spaces before percent signs, minus signs, arrows that stay where they belong."""
    quoted = re.sub(r"(?<!\w)'([^']+)'(?!\w)", r"‘\1’", text).replace("'", "’")
    percent = re.sub(r"(?<=\d) ?%", f"{THIN}%", quoted)
    return re.sub(r" (?=[↓↑→]+$)", "\u00a0", re.sub(r"(?<![\w\-])-(?=\d)", "−", percent))


class Numbers:
    """All rows by model and key, in the order in which they came; ``renamed``: models that rows call otherwise."""

    def __init__(self, rows: Iterable[Row], renamed: Mapping[str, str] | None = None) -> None:
        self.rows = list(rows)
        names = {row.model: (renamed or {}).get(row.model, row.model) for row in self.rows}
        self.models = list(names.values())
        self.sets = [*(name for name in SETS if any(row.set == name for row in self.rows))]
        self.sets += sorted({row.set for row in self.rows} - set(SETS))
        self._first: dict[Key, Row] = {}
        for row in self.rows:
            self._first.setdefault(row.key, row)
        self._rows = {(names[row.model], *row.key): row for row in self.rows}

    def get(self, model: str, set_: str, metric: str, label: str | None = None) -> Row | None:
        """The row if it was measured and has a value."""
        row = self._rows.get((model, set_, metric, label))
        return row if row is not None and math.isfinite(row.value) else None

    def line(self, set_: str, metric: str, label: str | None = None) -> Mapping[str, Row]:
        """One number of every model that has it."""
        rows = ((model, self.get(model, set_, metric, label)) for model in self.models)
        return {model: row for model, row in rows if row is not None}

    def keys(self, set_: str) -> list[Key]:
        """What was measured on a set and has a value."""
        return [key for key in self._first if key[0] == set_ and self.line(*key)]

    def first(self, key: Key) -> Row:
        """The row of any model: what all of them have in common."""
        return self._first[key]

    def arrow(self, key: Key) -> str:
        """See :func:`arrow`."""
        return arrow(self._first[key].direction, self.get("base", *key), self.get("reference", *key))

    def short(self, concept: str) -> list[Key]:
        """The few numbers that decide, as their metrics declare it (``headline``), by set.

        Beside the forget and the retain set, only how often the judge sees what it looks for: the concept on sets that
        ask for it, whatever was asked for elsewhere.
        """
        keys: dict[Key, None] = {}
        for set_ in self.sets:
            side, label = ("forget", concept) if set_ in FORGET_SIDE else ("keep", None)
            rows = [row for row in self.rows if row.set == set_ and side in row.headline and row.label in (label, None)]
            judged = [row for row in rows if (row.metric, row.label) == (RATE, label)]
            others = [row for row in rows if row.metric != RATE and set_ in ("forget", "retain")]
            keys |= {row.key: None for row in (*judged, *others)}
        return list(keys)
