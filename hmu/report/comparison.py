"""Many runs beside each other: a table and a verdict for every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hmu.evaluation.claims import few, objections, offer, shown_rates
from hmu.evaluation.results import Row
from hmu.report.front import Front, choose_axes, fronts
from hmu.report.numbers import SETS, Key, Numbers, arrow, edges, raw_name, set_name, value_text
from hmu.report.published import Published
from hmu.report.runs import SEEDS, Line, Run, lines_of, read_runs, row_of
from hmu.report.table import Cell, Column, Table, TableLine

#: what must be equal for runs to be compared
ALIKE: tuple[str, ...] = ("data_fingerprint", "partition", "evaluator_fingerprint", "repeats", "guidance", "steps")
ALIKE += ("batch_size", "r_precision_pool")


@dataclass(frozen=True)
class Report:
    """Everything that is written, in whatever format.

    ``runs``: all, measured or not; ``lines``: the measured ones; ``fronts``: one per task, on two ``axes``.
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


def build_report(
    folders: Sequence[Path],
    *,
    seeds: bool = True,
    forget: str | None = None,
    keep: str | None = None,
    columns: Sequence[str] = (),
    published: Published | None = None,
) -> Report:
    """Read and compare all runs at or below ``folders``.

    Args:
        seeds: put runs that differ in their seed only into one line.
        forget, keep: axes of the front, see :mod:`hmu.report.front`; None chooses.
        columns: more columns of the table, as ``set/metric``; published: tables to show beside.
    """
    runs = read_runs(folders)
    lines = lines_of(runs, seeds=seeds)
    axes = choose_axes(runs, forget, keep)
    return Report(tuple(runs), tuple(lines), tuple(fronts(lines, *axes)), columns_of(runs, columns), axes, published)


def columns_of(runs: Sequence[Run], more: Sequence[str] = ()) -> tuple[Key, ...]:
    """The numbers that decide in any run (:meth:`Numbers.short`), by set; what the user adds (``set/metric``) last.

    The label ``*`` stands for each run's concept.
    """
    keys: dict[Key, None] = {}
    for run in runs:
        for set_, metric, label in Numbers(run.measured).short(run.concept):
            keys[set_, metric, "*" if label == run.concept else label] = None
    order = list(SETS)
    ordered = sorted(keys, key=lambda key: order.index(key[0]) if key[0] in order else len(order))
    asked: list[Key] = [(*name.partition("/")[::2], None) for name in more]
    added = [key for key in asked if any(row_of(run, model, key) for run in runs for model in ("unlearned", "base"))]
    return tuple(dict.fromkeys([*ordered, *added]))


# -- tables ------------------------------------------------------------------------------------------------------------
def task_table(report: Report, front: Front) -> Table:
    """Base, reference if there is one, then the lines from most to least forgotten."""
    runs = [run for line in front.lines for run in line.runs]
    columns = [Column("run", numeric=False), Column("", numeric=False), *(_column(key, runs) for key in report.columns)]
    rows = []
    for model in ("base", "reference"):
        cells = [_cell(_first_row(runs, model, key)) for key in report.columns]
        if any(cell.text != "–" for cell in cells):
            rows.append(TableLine((Cell(model), Cell(), *cells, Cell()), "anchor"))
    ruled = len(rows)
    place = {id(point.line): -point.forget for point in front.points}
    for line in sorted(front.lines, key=lambda entry: (place.get(id(entry), 1.0), entry.first.name)):
        cells = [_cell(line.row("unlearned", key)) for key in report.columns]
        if any(cell.text != "–" for cell in cells):
            mark = front.mark(line)
            head = (Cell(line.first.name, links=_links(line)), Cell(mark, look="sign"))
            seconds = "" if line.seconds is None else f"{line.seconds:.0f}"
            rows.append(TableLine((*head, *cells, Cell(seconds)), "knee" if mark == "★" else ""))
    return Table((*columns, Column("seconds")), tuple(rows), ruled, " · ".join(front.task))


def _column(key: Key, runs: Sequence[Run]) -> Column:
    """``forget detector_rate [kick] ↓``, and on pages ``‘kick’ detected ↓`` below ``Forget``."""
    row = _first_row(runs, "unlearned", key) or _first_row(runs, "base", key)
    label = None if row is None or key[2] != "*" else row.label
    sign = "" if row is None else f" {arrow(row.direction)}"
    title = raw_name(key[1]) if row is None else row.title
    return Column(f"{key[0]} {raw_name(key[1], label)}{sign}", f"{title}{sign}", set_name(key[0]))


def _links(line: Line) -> tuple[tuple[str, Path], ...]:
    """To the run's report, or to its folder where it has none; with several seeds one for each."""
    single = len(line.runs) == 1
    return tuple((run.name if single else f"seed {run.seed}", run.report or run.path) for run in line.runs)


def _first_row(runs: Sequence[Run], model: str, key: Key) -> Row | None:
    """A number of the base or the reference, from the first run that has it."""
    return next((row for run in runs if (row := Line((run,)).row(model, key)) is not None), None)


def _cell(row: Row | None) -> Cell:
    """The value; of several seeds with the range, of one run with its interval where the pointer rests."""
    if row is None:
        return Cell("–")
    low, high, _ = edges(row)
    if row.interval == SEEDS:
        return Cell(value_text(row.value, row.kind), low, high, hint=f"{low} to {high} over {row.repeats} seeds")
    return Cell(value_text(row.value, row.kind), hint=f"{low} to {high} (95 %)" if low else "")


def unlike(runs: Sequence[Run]) -> list[str]:
    """Circumstances that differ between measured runs, so that their numbers cannot be compared as they are."""
    contexts = [run.results.context for run in runs if run.results is not None]
    return [key for key in ALIKE if len({str(context.get(key)) for context in contexts}) > 1]


def unmeasured_table(report: Report) -> Table:
    """Runs without numbers, and why."""
    columns = tuple(Column(name, numeric=False) for name in ("run", "what", "why"))
    lines = [
        TableLine(
            (Cell(run.path.as_posix(), links=((run.path.name, run.path),)), Cell(run.name), Cell(run.problem or ""))
        )
        for run in report.unmeasured
    ]
    return Table(columns, tuple(lines))


# -- words -------------------------------------------------------------------------------------------------------------
def verdict(front: Front) -> str:
    """The knee in one sentence, or why none of it may be claimed."""
    if front.knee is None:
        return "No run of this task has both scores, so there is no front."
    point = front.knee
    other = unlike([run for point in front.points for run in point.line.runs])
    warned = f" Not measured alike: {', '.join(other)} differ; scores are against each run's own base." if other else ""
    unplaced = len(front.lines) - len(front.points)
    rest = f" {unplaced} run(s) without both scores are not in the plane." if unplaced else ""
    measured = [run.results for run in point.line.runs if run.results is not None]
    against = next(((results, reasons) for results in measured if (reasons := objections(results))), None)
    small = next((f" Of few prompts: {shown_rates(results)}." for results in measured if few(results)), "")
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
