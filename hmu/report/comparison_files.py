"""A report of many runs as files: one page, Markdown, LaTeX, CSV."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from hmu.documents import write_text
from hmu.escaping import markdown_text
from hmu.evaluation.claims import objections
from hmu.report.comparison import Report, build_report, how_to_read, task_table, unmeasured_table, verdict
from hmu.report.page.comparison import page
from hmu.report.published import published_tables, source_of
from hmu.report.runs import row_of
from hmu.report.table import csv_of

log = logging.getLogger(__name__)
ROW_FIELDS = ("model", "set", "metric", "label", "value", "low", "high", "n", "repeats", "direction", "recovery")


def runs_csv(report: Report) -> str:
    """One row per run, measured or not: what it was, and its numbers beside its base's."""
    settings = dict.fromkeys(key for run in report.runs for key in run.settings)
    spots = {id(run): (front, p) for front in report.fronts for p in front.points for run in p.line.runs}
    records = []
    for run in report.runs:
        record: dict[str, object] = {**run.choices, **dict.fromkeys(settings, ""), **run.settings}
        record |= {"seed": run.seed, "status": run.status}
        record |= {"seconds": run.seconds, "megabytes": run.megabytes, "problem": run.problem}
        record |= dict.fromkeys(("forget", "keep", "front"), "")
        record["no claim because"] = "" if run.results is None else "; ".join(objections(run.results))
        if spot := spots.get(id(run)):
            front, point = spot
            record |= {"forget": point.forget, "keep": point.keep, "front": front.mark(point.line)}
        for model in ("base", "unlearned", "reference"):
            for key in report.columns:
                row = row_of(run, model, key)
                if row is not None:
                    record[f"{'' if model == 'unlearned' else f'{model} '}{key[0]} {key[1]}"] = row.value
        records.append({**record, "run": run.path.as_posix()})
    return csv_of(records)


def rows_csv(report: Report) -> str:
    """Every row of every ``metrics.json``, with its interval."""
    records = []
    for run in report.runs:
        for row in run.measured:
            facts = {key: value for key, value in asdict(row).items() if key in ROW_FIELDS}
            records.append({**run.choices, **run.settings, "seed": run.seed, **facts, "run": run.path.as_posix()})
    return csv_of(records)


def markdown(report: Report) -> str:
    """Tables of every task, the runs without numbers, and the published tables."""
    parts = []
    for front in report.fronts:
        task = task_table(report, front).markdown()
        parts += [f"## {markdown_text(' · '.join(front.task))}", "", *task, "", markdown_text(verdict(front)), ""]
    if report.unmeasured:
        parts += ["## Without numbers", "", *unmeasured_table(report).markdown(), ""]
    if report.published is not None:
        about = source_of(report.published, report.lines)
        parts += [f"## Published: {markdown_text(report.published.title)}", "", markdown_text(about), ""]
        parts += [
            line for table in published_tables(report.published, report.lines) for line in (*table.markdown(), "")
        ]
    return "\n".join([*parts, *map(markdown_text, how_to_read(report))]) + "\n"


def latex(report: Report) -> str:
    """One ``table`` per task, and one per side of the published table; needs ``\\usepackage{booktabs}``."""
    tables = [task_table(report, front) for front in report.fronts]
    tables += published_tables(report.published, report.lines) if report.published is not None else []
    return "\n\n".join(["% needs \\usepackage{booktabs}", *(table.latex() for table in tables)]) + "\n"


def write_report(report: Report, out: Path) -> Path:
    """Write ``report.html``, ``runs.csv``, ``rows.csv``, ``table.md``, ``table.tex`` into ``out``, each atomically."""
    texts = {"runs.csv": runs_csv, "rows.csv": rows_csv, "table.md": markdown, "table.tex": latex}
    for name, text in texts.items():
        write_text(out / name, text(report))
    write_text(out / "report.html", page(report, out))
    return out


def write_sweep(folder: Path) -> Report:
    """What a sweep leaves in its own folder: ``sweep.csv``, ``sweep.md`` and ``sweep.html``."""
    report = build_report([folder])
    write_text(folder / "sweep.csv", runs_csv(report))
    text = markdown(report)
    write_text(folder / "sweep.md", text)
    write_text(folder / "sweep.html", page(report, folder))
    log.info("%d runs in one table: %s\n%s", len(report.runs), folder / "sweep.html", text)
    return report
