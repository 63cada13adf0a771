"""From folders of runs to the files of a report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from hmu.report.front import choose_axes, fronts
from hmu.report.latex import latex
from hmu.report.published import Published
from hmu.report.runs import Run, lines_of, read_runs
from hmu.report.runs_page import page
from hmu.report.tables import Report, columns_of, markdown, rows_csv, runs_csv
from hmu.run import write_text

log = logging.getLogger(__name__)


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
        folders: run folders, sweep folders, or what holds them.
        seeds: put runs that differ in their seed only into one line.
        forget, keep: axes of the front, see :mod:`hmu.report.front`; None chooses.
        columns: more columns of the table, as ``set/metric``.
        published: tables to show beside.

    Raises:
        DataError: no such folder, or no run in it.
        ConfigError: an axis that does not exist.
    """
    runs: list[Run] = read_runs(folders)
    lines = lines_of(runs, seeds=seeds)
    axes = choose_axes(runs, forget, keep)
    return Report(tuple(runs), tuple(lines), tuple(fronts(lines, *axes)), columns_of(runs, columns), axes, published)


def write_report(report: Report, out: Path) -> Path:
    """Write ``report.html``, ``runs.csv``, ``rows.csv``, ``table.md``, ``table.tex`` into ``out``, each atomically."""
    write_text(out / "runs.csv", runs_csv(report))
    write_text(out / "rows.csv", rows_csv(report))
    write_text(out / "table.md", markdown(report))
    write_text(out / "table.tex", latex(report))
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
