"""A report of many runs as one HTML page that asks for nothing else: planes, tables, links to the runs' own reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmu.report.comparison import Report, how_to_read, task_table, unmeasured_table, verdict
from hmu.report.front import Front, Point
from hmu.report.page.plane import Axis, Mark, Plane, Symbol
from hmu.report.page.rendering import render
from hmu.report.published import published_tables, source_of


def page(report: Report, folder: Path) -> str:
    """The whole document; links are relative to ``folder``, where it will lie."""
    title = f"{len(report.runs) - len(report.unmeasured)} of {len(report.runs)} runs measured"
    knees = [front for front in report.fronts if front.knee is not None]
    lede = " ".join(f"{' · '.join(front.task)}: {verdict(front)}" for front in knees)
    methods = list(dict.fromkeys(line.first.choices["method"] for line in report.lines))
    published = report.published
    return render(
        "comparison.html",
        title=title,
        over="many runs",
        headline=title,
        lede=lede or "No run has both scores, so there is no front.",
        tasks=[_task(report, front, methods) for front in report.fronts],
        published=published
        and {
            "title": published.title,
            "source": source_of(published, report.lines),
            "tables": published_tables(published, report.lines),
        },
        unmeasured=unmeasured_table(report),
        how_to_read=how_to_read(report),
        folder=folder,
    )


def _task(report: Report, front: Front, methods: Sequence[str]) -> dict[str, Any]:
    used = dict.fromkeys(point.line.first.choices["method"] for point in front.points)
    return {
        "title": " · ".join(front.task),
        "plane": plane(front, methods) if front.points else None,
        "key": [(name, Symbol.of(methods.index(name))) for name in used],
        "verdict": verdict(front),
        "table": task_table(report, front),
    }


def plane(front: Front, methods: Sequence[str]) -> Plane:
    """Both axes end at 100 % and begin where the runs do; runs that are not beaten have their name beside them."""
    marks = {id(point): _mark(point, front, methods) for point in front.points}
    order = sorted(front.points, key=lambda point: point in front.best)
    words = "; ".join(f"{p.line.first.name}: {p.forget:.0%} forgotten, {p.keep:.0%} kept" for p in front.points)
    x_axis, y_axis = (Axis.below([getattr(point, axis) for point in front.points]) for axis in ("forget", "keep"))
    drawn, best = [marks[id(point)] for point in order], [marks[id(point)] for point in front.best]
    return Plane(drawn, x_axis, y_axis, 520.0, 330.0, words, best)


def _mark(point: Point, front: Front, methods: Sequence[str]) -> Mark:
    best, name = point in front.best, point.line.first.name
    return Mark(
        name if best else "",
        "" if best else "beaten",
        point.forget,
        point.keep,
        symbol=Symbol.of(methods.index(point.line.first.choices["method"])),
        tip=f"{name}: {100 * point.forget:.1f} % forgotten, {100 * point.keep:.1f} % kept",
        ringed=point is front.knee,
    )
