"""An evaluation for a person: one sentence, a short table for the terminal, and ``report.md``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hmu.escaping import markdown_text
from hmu.evaluation.claims import FEW, objections, offer, rate
from hmu.evaluation.results import Results, Row
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.detector_rate import RATE
from hmu.report.numbers import (
    Key,
    Numbers,
    change,
    model_look,
    model_name,
    number,
    raw_name,
    set_title,
    value_text,
)
from hmu.report.table import Cell, Column, Table, TableLine

LEGEND = (
    "Arrows: ↓ lower is better, ↑ higher is better, = should stay at the base's value, → towards the reference, which "
    "lies above (→↑) or below (→↓) the base; → alone: no good direction without a retrained reference.",
    "Intervals: 95 %, under resampling of prompts (shares: Wilson's, for as many independent answers as "
    "vary like that, or as prompts where none differs); † over repeats alone, which knows nothing of other prompts.",
    "Recovery: (unlearned − base) / (reference − base) with a paired 95 % bootstrap over prompts: 0 nothing forgotten, "
    "1 as if never trained on it, above 1 overshoot, below 0 the wrong way; '≈' where base and reference do not differ "
    "by more than chance; empty without a reference.",
    "Drift: (unlearned − base) in units of half the base's 95 % interval, on the sets that should be kept.",
    "Real clips: what the detectors see in the data itself, so the most a generator can be credited with.",
)
HIDDEN = ("title", "real_clips")  # of the context: reported elsewhere


# -- in words ----------------------------------------------------------------------------------------------------------
def headline(results: Results) -> str:
    """What happened, in one sentence of plain words; where nothing may be claimed, first why (see ``claims``)."""
    sentence, against = _measured(results), objections(results)
    if not against:
        return sentence
    reasons = [*against, *filter(None, [offer(results)])]
    if alone(results):
        return "; ".join([sentence.rstrip("."), *reasons]) + "."
    measured = sentence[:1].lower() + sentence[1:]
    return "; ".join([f"No claim: {reasons[0]}", *reasons[1:], f"measured all the same: {measured}"])


def alone(results: Results) -> bool:
    """Whether nothing but a base was measured."""
    return bool(results.rows) and all(row.model == "base" for row in results.rows)


def _measured(results: Results) -> str:
    """The numbers in a sentence; shares of few prompts carry their intervals."""
    concept = str(results.context.get("concept", "the concept"))
    before, after = (results.get(model, "forget", RATE, concept) for model in ("base", "unlearned"))
    asked = bool(results.context.get("reads_text", True))
    if alone(results):
        shows = "" if before is None else f": asked for '{concept}', it shows it in {rate(before)} of motions"
        if before is not None and not asked:
            shows = f": left to itself, it shows '{concept}' in {rate(before)} of windows"
        return f"Only the base model was measured{shows}."
    parts = []
    if before is not None and after is not None:
        shows = f"Asked for '{concept}', the base model shows it in {rate(before)} of motions"
        if not asked:
            shows = f"Left to itself, the base model shows '{concept}' in {rate(before)} of windows"
        parts.append(f"{shows}, the {results.context.get('edited', 'unlearned')} model in {rate(after)}")
    for set_, words in (("retain", "other actions"), ("neighbours", "similar actions")):
        share = _ratio(results, set_, RATE)
        if share is not None:
            parts.append(f"{words} keep {share:.0%} of the base's rate{_of_few(results, set_)}")
    drift = _ratio(results, "retain", "fid")
    if drift is not None:
        parts.append(f"retain FID is {drift:.2f} × the base's")
    if not parts:
        return f"No detector sees '{concept}'; read the distances below."
    sentence = "; ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def _of_few(results: Results, set_: str) -> str:
    """Both rates of a set of few prompts with their intervals: their ratio alone would look certain."""
    rows = [results.get(model, set_, RATE) for model in ("base", "unlearned")]
    known = [row for row in rows if row is not None]
    return "" if not any(row.n < FEW for row in known) else f" ({', then '.join(map(rate, known))})"


def _ratio(results: Results, set_: str, metric: str) -> float | None:
    """Unlearned over base; None if not measured."""
    before, after = (results.get(model, set_, metric) for model in ("base", "unlearned"))
    if before is None or after is None or not before.value or not math.isfinite(before.value):
        return None
    return after.value / before.value


def warnings(results: Results) -> list[str]:
    """What a reader must know before quoting: sets too small for FID's covariance."""
    width = results.context.get("evaluator_width")
    counts = {row.set: row.n for row in results.rows if row.metric == "fid"}
    small = {f"'{name}'": n for name, n in counts.items() if isinstance(width, int) and n < 10 * width}
    if not small:
        return []
    return [
        f"Warning: FID on {', '.join(small)} is from n = {', '.join(map(str, small.values()))} motions, fewer than "
        f"10 × {width} dimensions: biased upwards; compare at equal n only and read kernel_distance"
    ]


# -- in tables ---------------------------------------------------------------------------------------------------------
def summary(results: Results) -> str:
    """The few numbers that decide, in plain text; of sets that ask for the concept, how often it is seen."""
    numbers, concept = Numbers(results.rows), str(results.context.get("concept", ""))
    real = real_clips(results.context)
    models = numbers.models
    keys = [key for key in numbers.short(concept) if key[0] not in FORGET_SIDE or key[1] == RATE]
    cells = {key: [number(numbers.get(model, *key)) for model in models] for key in keys}
    width = 1 + max(25, *(len(cell) for row in cells.values() for cell in row), 0)
    lines = [f"{'':42s}" + "".join(f"{model:>{width}s}" for model in models) + (f"{'real clips':>14s}" if real else "")]
    for key, row in cells.items():
        line = f"{f'{key[0]}: {raw_name(*key[1:])} {numbers.arrow(key)}':42s}"
        line += "".join(f"{cell:>{width}s}" for cell in row)
        lines.append(line + (f"{real.get(key, ''):>14s}" if real else "").rstrip())
    if results.scoreboard:
        lines.append(board_line(results.scoreboard))
    return "\n".join([*lines, *warnings(results)])


def real_clips(context: Mapping[str, Any]) -> dict[Key, str]:
    """What detectors see in the real clips of each set: the most that a generator can be credited with."""
    return {
        (set_, RATE, None if label == "all" else label): value_text(value, "share")
        for set_, rates in (context.get("real_clips") or {}).items()
        for label, value in rates.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def board_line(board: Mapping[str, Any]) -> str:
    """Forget, Keep and Hold in one line; what needs a reference that was not given is a dash."""
    parts = [f"{name.capitalize()} {_score(board.get(name))}" for name in ("forget", "keep", "hold")]
    if board.get("weakest"):
        parts[-1] += f" (weakest: {board['weakest']})"
    overshoot = board.get("overshoot") or []
    return " · ".join(parts) + (f"; beyond the reference: {', '.join(overshoot)}" if overshoot else "")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def set_table(numbers: Numbers, set_: str, real: Mapping[Key, str], titled: bool = False) -> Table:
    """Everything measured on one prompt set, models side by side.

    Columns: metric (in full with ``titled``), one per model, the change of the second against the first, what detectors
    see in real clips, drift and recovery of the model that is compared.
    """
    models, keys = numbers.models, numbers.keys(set_)
    several, judged = len(models) > 1, any(key in real for key in keys)
    compared = next((model for model in models if model not in ("base", "reference")), "")
    columns = [Column("metric", numeric=False)]
    columns += [Column(model, model_name(model), look=f"model {model_look(model)}") for model in models]
    columns += [Column("change")] * several + [Column("real clips")] * judged
    columns += [Column("drift"), Column("recovery")] * several
    lines = []
    for key in keys:
        names = (numbers.first(key).title, raw_name(*key[1:])) if titled else (raw_name(*key[1:]), "")
        cells = [Cell(f"{names[0]} {numbers.arrow(key)}", hint=names[1])]
        rows = [numbers.get(model, *key) for model in models]
        cells += [*map(Cell.of, rows)]
        if several:
            cells.append(Cell(change(*rows[:2])))
        cells += [Cell(real.get(key, ""), look="faint")] * judged
        if several:
            anchors = numbers.get("base", *key) and numbers.get("reference", *key)
            row = numbers.get(compared, *key)
            cells += [_drift(row), _recovery(row, anchors is not None)]
        lines.append(TableLine(tuple(cells)))
    return Table(tuple(columns), tuple(lines))


def _drift(row: Row | None) -> Cell:
    return Cell() if row is None or row.drift is None or row.set in FORGET_SIDE else Cell(f"{row.drift:+.1f}")


def _recovery(row: Row | None, referenced: bool) -> Cell:
    if row is None or row.recovery is None:  # ≈: base and reference do not differ by more than chance
        return Cell("≈" if row is not None and referenced and row.kind != "ratio" else "")
    if row.recovery_low is None or row.recovery_high is None:
        return Cell(f"{row.recovery:.2f}")
    return Cell(f"{row.recovery:.2f}", f"{row.recovery_low:.2f}", f"{row.recovery_high:.2f}")


def count_of(numbers: Numbers, set_: str) -> int:
    """Prompts of a set. A detector counts those that ask for its action: one may ask for several, or for none."""
    rows = [row for row in numbers.rows if row.set == set_]
    return max(row.n for row in [row for row in rows if row.metric != RATE] or rows)


def markdown(results: Results) -> str:
    """``report.md``: every number."""
    context, numbers, real = results.context, Numbers(results.rows), real_clips(results.context)
    lines = [f"# {markdown_text(context.get('title', 'Evaluation'))}", "", markdown_text(headline(results)), ""]
    if results.scoreboard:
        lines += ["## Scoreboard", "", *_board(results.scoreboard), ""]
    lines += [line for warning in warnings(results) for line in (f"> {markdown_text(warning)}.", "")]
    for set_ in numbers.sets:
        heading = f"## {markdown_text(set_title(set_))} ({count_of(numbers, set_)} prompts)"
        lines += [heading, "", *set_table(numbers, set_, real).markdown(), ""]
    facts = [[key, _listed(value)] for key, value in context.items() if key not in HIDDEN]
    lines += ["## Circumstances", "", *Table.of(["what", "value"], facts).markdown(), "", *LEGEND]
    return "\n".join(lines) + "\n"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _board(board: Mapping[str, Any]) -> list[str]:
    lines = ["| | score | made of |", "|---|--:|---|"]
    for name, meaning in (("forget", "median recovery"), ("keep", "1 − mean harm"), ("hold", "recovery under attack")):
        parts = ", ".join(f"{key} {_score(value)}" for key, value in (board.get(f"{name}_parts") or {}).items())
        lines.append(
            f"| **{name.capitalize()}** ({meaning}) | {_score(board.get(name))} | {markdown_text(parts) or '–'} |"
        )
    return [*lines, "", board_line(board)]
