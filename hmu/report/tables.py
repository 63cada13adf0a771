"""The runs of a report as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hmu.escaping import csv_cell, markdown_text
from hmu.evaluation.claims import few, objections, offer, shown_rates
from hmu.evaluation.results import Row
from hmu.report.front import Front
from hmu.report.published import SIDES, Pair, Published, beside, table_of
from hmu.report.runs import Key, Line, Number, Run, number_of, row_of
from hmu.report.text import ARROWS, number

#: what is shown where it was measured; ``*`` = the run's concept
COLUMNS: tuple[Key, ...] = (
    ("forget", "detector_rate", "*"),
    *(("forget", metric, None) for metric in ("fid", "mm_safe_hmu", "r_precision_1")),
    *((set_, "detector_rate", "*") for set_ in ("explicit", "paraphrase", "typo", "implicit", "compositional")),
    *((set_, "detector_rate", None) for set_ in ("neighbours", "retain")),
    *(("retain", metric, None) for metric in ("fid", "mm_dist", "r_precision_1")),
)
#: what must be equal for runs to be compared
ALIKE = (
    "data_fingerprint",
    "partition",
    "evaluator_fingerprint",
    "repeats",
    "guidance",
    "steps",
    "batch_size",
    "r_precision_pool",
)
ROW_FIELDS = ("model", "set", "metric", "label", "value", "low", "high", "n", "repeats", "direction", "recovery")


@dataclass(frozen=True)
class Report:
    """Everything that is written, in whatever format.

    Attributes:
        runs: all, measured or not; lines: the measured ones; fronts: one per task.
        columns: of the tables; axes: of the fronts, forget and keep; published: tables to show beside, or None.
    """

    runs: tuple[Run, ...]
    lines: tuple[Line, ...]
    fronts: tuple[Front, ...]
    columns: tuple[Key, ...]
    axes: tuple[str, str]
    published: Published | None = None

    @property
    def unmeasured(self) -> list[Run]:
        """Runs without numbers; ``problem`` says why."""
        return [run for run in self.runs if run.results is None]


def columns_of(runs: Sequence[Run], more: Sequence[str] = ()) -> tuple[Key, ...]:
    """The columns that at least one run has numbers for, those that the user adds (``set/metric``) last."""
    wanted = [*COLUMNS, *((*name.partition("/")[::2], None) for name in more)]
    return tuple(
        dict.fromkeys(key for key in wanted if any(row_of(run, m, key) for run in runs for m in ("unlearned", "base")))
    )


def heading(key: Key, runs: Sequence[Run]) -> str:
    """``forget detector_rate ↓``; rates of the concept are named after it where there is only one."""
    set_, metric, label = key
    found = next((row for run in runs for m in ("unlearned", "base") if (row := row_of(run, m, key)) is not None), None)
    concepts = {run.choices["concept"] for run in runs}
    what = f" [{concepts.pop()}]" if label == "*" and len(concepts) == 1 else ""
    return f"{set_} {metric}{what}" + ("" if found is None else f" {ARROWS[found.direction]}")


def cell(found: Number | None) -> str:
    """The value alone, as reports print it; with the range over seeds where there are several."""
    if found is None:
        return "–"
    row = Row("", "", found.metric, found.value)
    return number(row if found.seeds == 1 else Row("", "", found.metric, found.value, found.low, found.high))


def body(report: Report, front: Front) -> list[tuple[str, Line | None, list[Number | None]]]:
    """Rows of a task's table: base, reference if there is one, then the lines from most to least forgotten."""
    lines = [line for line in report.lines if line.first.task == front.task]
    runs = [run for line in lines for run in line.runs]
    rows: list[tuple[str, Line | None, list[Number | None]]] = []
    for model in ("base", "reference"):
        found = [first_number(runs, model, key) for key in report.columns]
        if any(found):
            rows.append((model, None, found))
    place = {id(point.line): -point.forget for point in front.points}
    for line in sorted(lines, key=lambda one: (place.get(id(one), 1.0), one.first.name)):
        numbers = [line.number("unlearned", key) for key in report.columns]
        if any(numbers):
            rows.append((line.first.name, line, numbers))
    return rows


def first_number(runs: Sequence[Run], model: str, key: Key) -> Number | None:
    """A metric of the base or the reference, from the first run that has it."""
    return next((found for run in runs if (found := number_of([run], model, key)) is not None), None)


def unlike(runs: Sequence[Run]) -> list[str]:
    """Circumstances that differ between measured runs, so that their numbers cannot be compared as they are."""
    found = [run.results.context for run in runs if run.results is not None]
    return [key for key in ALIKE if len({str(context.get(key)) for context in found}) > 1]


def marks(front: Front, line: Line | None) -> str:
    """``★`` for the knee, ``●`` for the others that no run beats."""
    point = None if line is None else front.point_of(line)
    if point is None:
        return ""
    return "★" if point is front.knee else "●" if point in front.best else ""


# -- CSV ---------------------------------------------------------------------------------------------------------------
def runs_csv(report: Report) -> str:
    """One row per run, measured or not: what it was, and its numbers beside its base's."""
    settings = dict.fromkeys(key for run in report.runs for key in run.settings)
    rows = []
    spots = {id(run): (front, p) for front in report.fronts for p in front.points for run in p.line.runs}
    for run in report.runs:
        row: dict[str, object] = {**run.choices, **dict.fromkeys(settings, ""), **run.settings}
        row |= {"seed": run.seed, "status": run.status}
        row |= {"seconds": _plain(run.seconds), "megabytes": _plain(run.megabytes), "problem": run.problem or ""}
        row |= dict.fromkeys(("forget", "keep", "front"), "")
        row["no claim because"] = "" if run.results is None else "; ".join(objections(run.results))
        front, point = spots.get(id(run), (None, None))
        if front is not None and point is not None:
            row |= {"forget": _plain(point.forget), "keep": _plain(point.keep), "front": marks(front, point.line)}
        for model in ("base", "unlearned", "reference"):
            for key in report.columns:
                found = row_of(run, model, key)
                name = f"{key[0]} {key[1]}"
                if found is not None:
                    row[name if model == "unlearned" else f"{model} {name}"] = _plain(found.value)
        row["run"] = run.path.as_posix()
        rows.append(row)
    return _csv(rows)


def rows_csv(report: Report) -> str:
    """Every row of every ``metrics.json``, with its interval."""
    rows = []
    for run in report.runs:
        for row in run.measured:
            facts = {key: _plain(value) for key, value in asdict(row).items() if key in ROW_FIELDS}
            rows.append({**run.choices, **run.settings, "seed": run.seed, **facts, "run": run.path.as_posix()})
    return _csv(rows)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), restval="", lineterminator="\n"
    )
    writer.writerow({key: csv_cell(key) for key in writer.fieldnames})
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value


# -- Markdown ----------------------------------------------------------------------------------------------------------
def markdown(report: Report) -> str:
    """Tables of every task, the runs without numbers, and the published tables."""
    parts = []
    for front in report.fronts:
        lines = [line for line in report.lines if line.first.task == front.task]
        runs = [run for line in lines for run in line.runs]
        head = ["run", "", *(heading(key, runs) for key in report.columns), "seconds"]
        rows = [
            [name, marks(front, line), *map(cell, numbers), _seconds(line)]
            for name, line, numbers in body(report, front)
        ]
        told = markdown_text(verdict(front))
        parts += [f"## {markdown_text(' · '.join(front.task))}", "", *_table(head, rows), "", told, ""]
    if report.unmeasured:
        rows = [[run.path.as_posix(), run.name, run.problem or ""] for run in report.unmeasured]
        parts += ["## Without numbers", "", *_table(["run", "what", "why"], rows), ""]
    if report.published is not None:
        parts += [*_published(report.published, report.lines), ""]
    return "\n".join([*parts, *map(markdown_text, how_to_read(report))]) + "\n"


def verdict(front: Front) -> str:
    """The knee in one sentence, or why none of it may be claimed."""
    if front.knee is None:
        return "No run of this task has both scores, so there is no front."
    point = front.knee
    other = unlike([run for point in front.points for run in point.line.runs])
    warned = f" Not measured alike: {', '.join(other)} differ; scores are against each run's own base." if other else ""
    rest = f" {len(front.unplaced)} run(s) without both scores are not in the plane." if front.unplaced else ""
    measured = [run.results for run in point.line.runs if run.results is not None]
    against = next(((found, reasons) for found in measured if (reasons := objections(found))), None)
    small = next((f" Of few prompts: {shown_rates(found)}." for found in measured if few(found)), "")
    beaten = f"not beaten: {len(front.best)} of {len(front.points)} runs"
    if against is not None:
        why = "; ".join([*against[1], *filter(None, [offer(against[0])])])
        return f"No claim: {why}. Knee all the same: {point.line.first.name} ({beaten}).{small}{rest}{warned}"
    return (
        f"Knee: {point.line.first.name}, {100 * point.forget:.0f} % forgotten and {100 * point.keep:.0f} % kept "
        f"({beaten}).{small}{rest}{warned}"
    )


def how_to_read(report: Report) -> list[str]:
    """The rules by which front and knee were found."""
    forget, keep = report.axes
    return [
        f"Forgotten: {forget}; 0 as the base, 1 all gone. Kept: {keep}; 1 as the base or better, 0 all lost.",
        "● not beaten: no run is as good in both and better in one. ★ knee: of these the nearest to all gone and kept.",
        "Several seeds: mean [range]. One run: its 95 % intervals are in rows.csv.",
    ]


def _published(table: Published, lines: Sequence[Line]) -> list[str]:
    pairs = beside(table, lines)
    parts = [f"## Published: {markdown_text(table.title)}", "", markdown_text(about(table, pairs)), ""]
    for side in SIDES:
        parts += [*_table(*table_of(table, pairs, side)), ""]
    return parts


def about(table: Published, pairs: Sequence[Pair]) -> str:
    """Where the figures are from, and whether we have anything beside them."""
    told = f"Source: {table.source}. In brackets: recovery towards the reference."
    if any(pair.line is not None for pair in pairs):
        return told
    return f"{told} None of these runs is of {table.dataset} · {table.backbone} · {table.concept}."


def _seconds(line: Line | None) -> str:
    return "" if line is None or line.seconds is None else f"{line.seconds:.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    clean = [[*map(markdown_text, row)] for row in (head, *rows)]
    return [f"| {' | '.join(row)} |" for row in (clean[0], ["---"] * len(head), *clean[1:])]
