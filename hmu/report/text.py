"""An evaluation told to a person: one sentence, and a table with base beside unlearned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hmu.escaping import markdown_text
from hmu.evaluation.claims import FEW, objections, offer, rate
from hmu.evaluation.results import Results, Row, relative_change
from hmu.evaluation.sets import FORGET_SIDE

ARROWS = {"lower": "↓", "higher": "↑", "same": "=", "reference": "→"}
SIDES = {
    "forget": "Forget: efficacy",
    "explicit": "Explicit prompts: efficacy on sentences of our own",
    "paraphrase": "Paraphrased prompts: efficacy without the keywords",
    "typo": "Misspelled prompts: efficacy beside the keywords",
    "implicit": "Implicit prompts: efficacy without naming the action",
    "compositional": "Compositional prompts: efficacy where another action is asked for too",
    "neighbours": "Neighbours: specificity",
    "retain": "Retain: preservation",
}


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


def headline(results: Results) -> str:
    """What happened, in one sentence of plain words; where nothing may be claimed, first why (see ``claims``)."""
    told, against = _told(results), objections(results)
    if not against:
        return told
    reasons = [*against, *filter(None, [offer(results)])]
    if alone(results):
        return "; ".join([told.rstrip("."), *reasons]) + "."
    measured = told[:1].lower() + told[1:]
    return "; ".join([f"No claim: {reasons[0]}", *reasons[1:], f"measured all the same: {measured}"])


def alone(results: Results) -> bool:
    """Whether nothing but a base was measured."""
    return bool(results.rows) and all(row.model == "base" for row in results.rows)


def _told(results: Results) -> str:
    """The numbers in a sentence; shares of few prompts carry their intervals."""
    concept = str(results.context.get("concept", "the concept"))
    before, after = (results.get(m, "forget", "detector_rate", concept) for m in ("base", "unlearned"))
    asked = bool(results.context.get("reads_text", True))
    if alone(results):
        seen = "" if before is None else f": asked for '{concept}', it shows it in {rate(before)} of motions"
        if before is not None and not asked:
            seen = f": left to itself, it shows '{concept}' in {rate(before)} of windows"
        return f"Only the base model was measured{seen}."
    parts = []
    if before is not None and after is not None:
        shows = f"Asked for '{concept}', the base model shows it in {rate(before)} of motions"
        if not asked:
            shows = f"Left to itself, the base model shows '{concept}' in {rate(before)} of windows"
        parts.append(f"{shows}, the {results.context.get('edited', 'unlearned')} model in {rate(after)}")
    for set_, words in (("retain", "other actions"), ("neighbours", "similar actions")):
        kept = kept_share(results, set_)
        if kept is not None:
            parts.append(f"{words} keep {kept:.0%} of the base's rate{_of_few(results, set_)}")
    drift = _ratio(results, "retain", "fid")
    if drift is not None:
        parts.append(f"retain FID is {drift:.2f} × the base's")
    if not parts:
        return f"No detector sees '{concept}'; read the distances below."
    sentence = "; ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def _of_few(results: Results, set_: str) -> str:
    """Both rates of a set of few prompts with their intervals: their ratio alone would look certain."""
    rows = [results.get(model, set_, "detector_rate") for model in ("base", "unlearned")]
    known = [row for row in rows if row is not None]
    return "" if not any(row.n < FEW for row in known) else f" ({', then '.join(map(rate, known))})"


def kept_share(results: Results, set_: str) -> float | None:
    """Unlearned over base of the rate at which asked-for actions are seen on ``set_``; None if not measured."""
    return _ratio(results, set_, "detector_rate")


def summary(results: Results) -> str:
    """The few numbers that decide, as a small table in plain text: what was forgotten, what was kept."""
    concept = str(results.context.get("concept", ""))
    models = list(dict.fromkeys(row.model for row in results.rows))
    wanted: list[tuple[str, str, str | None]] = [
        (set_, "detector_rate", concept) for set_ in ("forget", "paraphrase", "implicit")
    ]
    wanted += [(set_, "detector_rate", None) for set_ in ("neighbours", "retain")]
    wanted += [("retain", metric, None) for metric in ("fid", "mm_dist", "r_precision_1")]
    real = results.context.get("real_clips") or {}
    lines = [f"{'':42s}" + "".join(f"{model:>26s}" for model in models) + (f"{'real clips':>14s}" if real else "")]
    for set_, metric, label in wanted:
        rows = [results.get(model, set_, metric, label) for model in models]
        first = next((row for row in rows if row is not None), None)
        if first is not None:
            what = f"{set_}: {metric}" + (f" [{label}]" if label else "") + f" {arrow(results, first)}"
            line = f"{what:42s}" + "".join(f"{number(row):>26s}" for row in rows)
            lines.append(line + (f"{_real(real, first):>14s}" if real else "").rstrip())
    if results.scoreboard:
        lines.append(board_line(results.scoreboard))
    return "\n".join([*lines, *warnings(results)])


def arrow(results: Results, row: Row) -> str:
    """Where the number should go; towards a reference that was measured, also whether that lies above or below."""
    base, reference = (results.get(model, *row.key) for model in ("base", "reference"))
    if row.direction != "reference" or base is None or reference is None or reference.value == base.value:
        return ARROWS[row.direction]
    return ARROWS["reference"] + ARROWS["higher" if reference.value > base.value else "lower"]


def board_line(board: Mapping[str, Any]) -> str:
    """Forget, Keep and Hold in one line; what needs a reference that was not given is a dash."""
    parts = [f"{name.capitalize()} {_two(board.get(name))}" for name in ("forget", "keep", "hold")]
    if board.get("weakest"):
        parts[-1] += f" (weakest: {board['weakest']})"
    overshoot = board.get("overshoot") or []
    return " · ".join(parts) + (f"; beyond the reference: {', '.join(overshoot)}" if overshoot else "")


def warnings(results: Results) -> list[str]:
    """What a reader must know before quoting: sets too small for FID's covariance."""
    width = results.context.get("evaluator_width")
    seen = {row.set: row.n for row in results.rows if row.metric == "fid"}
    small = {f"'{name}'": n for name, n in seen.items() if isinstance(width, int) and n < 10 * width}
    if not small:
        return []
    return [
        f"Warning: FID on {', '.join(small)} is from n = {', '.join(map(str, small.values()))} motions, fewer than "
        f"10 × {width} dimensions: biased upwards; compare at equal n only and read kernel_distance"
    ]


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _real(real: Mapping[str, Mapping[str, float]], row: Row) -> str:
    """What the detectors see in the real clips of the row's set: the most that a generator can be credited with."""
    value = real.get(row.set, {}).get(row.label or "all") if row.metric == "detector_rate" else None
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def _ratio(results: Results, set_: str, metric: str) -> float | None:
    before, after = (results.get(m, set_, metric) for m in ("base", "unlearned"))
    if before is None or after is None or not before.value or not math.isfinite(before.value):
        return None
    return after.value / before.value


def markdown(results: Results) -> str:
    """The whole report as Markdown."""
    context, real = results.context, results.context.get("real_clips") or {}
    lines = [f"# {markdown_text(context.get('title', 'Evaluation'))}", "", markdown_text(headline(results)), ""]
    if results.scoreboard:
        lines += ["## Scoreboard", "", *_board(results.scoreboard), ""]
    if noted := warnings(results):
        lines += [*(f"> {markdown_text(line)}." for line in noted), ""]
    for set_ in [*SIDES, *sorted({row.set for row in results.rows} - set(SIDES))]:
        rows = [row for row in results.rows if row.set == set_]
        if rows:
            n = max(row.n for row in rows)
            lines += [f"## {markdown_text(SIDES.get(set_, set_))} ({n} prompts)", "", *_table(results, rows, real), ""]
    lines += ["## Circumstances", "", "| what | value |", "|---|---|"]
    told = {key: value for key, value in context.items() if key not in ("title", "real_clips")}
    lines += [f"| {markdown_text(key)} | {_cell(value)} |" for key, value in told.items()]
    lines += ["", *LEGEND]
    return "\n".join(lines) + "\n"


def columns_and_rows(results: Results) -> tuple[list[str], list[list[str | float | None]]]:
    """Every number as a table for a logger: one row per set and metric, the models side by side with their intervals.

    Returns:
        names of the columns, and rows of plain values (None where nothing was measured).
    """
    models = list(dict.fromkeys(row.model for row in results.rows))
    found = {(row.model, row.key): row for row in results.rows}
    columns = ["set", "metric", "label", "direction", "n", "repeats"]
    columns += [f"{model}{part}" for model in models for part in ("", " low", " high")]
    table: list[list[str | float | None]] = []
    for key in dict.fromkeys(row.key for row in results.rows):
        ours = [found.get((model, key)) for model in models]
        first = next(row for row in ours if row is not None)
        line: list[str | float | None] = [*key, first.direction, first.n, first.repeats]
        for row in ours:
            values = (None,) * 3 if row is None else (row.value, row.low, row.high)
            line += [v if v is not None and math.isfinite(v) else None for v in values]
        table.append(line)
    return columns, table


def _board(board: Mapping[str, Any]) -> list[str]:
    lines = ["| | score | made of |", "|---|--:|---|"]
    for name, meaning in (("forget", "median recovery"), ("keep", "1 − mean harm"), ("hold", "recovery under attack")):
        parts = board.get(f"{name}_parts") or {}
        told = markdown_text(", ".join(f"{key} {_two(value)}" for key, value in parts.items()))
        lines.append(f"| **{name.capitalize()}** ({meaning}) | {_two(board.get(name))} | {told or '–'} |")
    return [*lines, "", board_line(board)]


def _table(results: Results, rows: Sequence[Row], real: Mapping[str, Mapping[str, float]]) -> list[str]:
    models = list(dict.fromkeys(row.model for row in results.rows))
    found = {(row.model, row.key): row for row in rows}
    seen, several = any(_real(real, row) for row in rows), len(models) > 1
    head = ["metric", *models] + (["change"] if several else []) + (["real clips"] if seen else [])
    head += ["drift", "recovery"] if several else []
    lines = ["| " + " | ".join(map(markdown_text, head)) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for key in dict.fromkeys(row.key for row in rows):
        ours = [found.get((model, key)) for model in models]
        first = next(row for row in ours if row is not None)
        name = first.metric if first.label is None else f"{first.metric} [{first.label}]"
        cells = [f"{name} {arrow(results, first)}", *(number(row) for row in ours)]
        cells += [_change(ours[0], ours[1])] if several else []
        cells += [_real(real, first)] if seen else []
        cells += [_drift(ours[1]), _recovery(ours[1], "reference" in models[2:])] if several else []
        lines.append("| " + " | ".join(map(markdown_text, cells)) + " |")
    return lines


def _drift(row: Row | None) -> str:
    return "" if row is None or row.drift is None or row.set in FORGET_SIDE else f"{row.drift:+.1f}"


def _recovery(row: Row | None, referenced: bool) -> str:
    if not referenced or row is None or not math.isfinite(row.value):
        return ""
    if row.recovery is None:
        return "" if row.kind == "ratio" else "≈"
    if row.recovery_low is None or row.recovery_high is None:
        return f"{row.recovery:.2f}"
    return f"{row.recovery:.2f} [{row.recovery_low:.2f}, {row.recovery_high:.2f}]"


def number(row: Row | None) -> str:
    """``value [low, high]`` with sensible digits, shares in percent; † marks an interval over repeats alone."""
    if row is None or not math.isfinite(row.value):
        return "–"
    share = row.is_share
    show = (lambda v: f"{100 * v:.1f} %") if share else (lambda v: f"{v:.3g}" if abs(v) < 1000 else f"{v:.0f}")
    if row.low is None or row.high is None:
        return show(row.value)
    return f"{show(row.value)} [{show(row.low)}, {show(row.high)}]" + ("†" if row.interval == "repeats" else "")


def _change(before: Row | None, after: Row | None) -> str:
    if before is None or after is None or not (math.isfinite(before.value) and math.isfinite(after.value)):
        return "–"
    change = relative_change(before, after)
    return "–" if change is None else f"{100 * change:+.0f} %" if before.value else "="


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return markdown_text(text)
