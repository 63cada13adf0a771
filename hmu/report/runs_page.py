"""A report of many runs as one HTML page that asks for nothing else: planes, tables, links to the runs' own reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from hmu.report.front import Front, Point
from hmu.report.page.markup import Content, Markup, el
from hmu.report.page.numbers import metric_name, set_name
from hmu.report.published import SIDES, Published, beside, table_of
from hmu.report.runs import Key, Line, Number, Run
from hmu.report.tables import Report, about, body, cell, heading, how_to_read, marks, verdict
from hmu.report.text import ARROWS

_LEFT, _TOP, _WIDE, _HIGH = 56.0, 26.0, 520.0, 330.0
_HUES = (6, 212, 150, 272, 36, 186, 330, 96)  # one per method, told apart by shape too
_SHAPES = ("circle", "square", "diamond", "triangle")
_STYLE = """
.task { display: grid; gap: 1rem; }
.plane { max-width: 640px; }
.plane .front { fill: none; stroke: var(--ink); stroke-width: 1.4; opacity: 0.55; }
.plane .dot { stroke: var(--ground); stroke-width: 1.2; }
.plane .beaten { opacity: 0.4; }
.plane .knee { fill: none; stroke: var(--ink); stroke-width: 1.6; }
.plane .name { fill: var(--ink); font-weight: 500; }
.key { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; font-size: 0.85rem; }
.key { padding: 0; margin: 0; list-style: none; }
.key svg { display: inline-block; vertical-align: -2px; margin-right: 0.4em; }
.runs td, .runs tbody th { white-space: nowrap; }
.runs thead th { max-width: 9em; text-align: right; }
.runs thead th[rowspan]:first-child, .words.runs thead th { text-align: left; }
.runs.published thead th:nth-child(-n+2) { text-align: left; }
.runs a { color: inherit; }
.runs thead .group { text-align: center; border-bottom: 1px solid var(--line); }
.runs tbody th, .runs td { padding-inline: 0.55rem; }
.runs tr.anchor { color: var(--faint); }
.runs tr.knee th { font-weight: 650; }
.runs .sign { width: 1.2em; padding-inline: 0.2rem; }
.runs td.problem { white-space: normal; min-width: 22rem; }
.theirs { color: var(--faint); }
.dot { fill: hsl(var(--hue) 62% 46%); }
@media (prefers-color-scheme: dark) { .dot { fill: hsl(var(--hue) 66% 64%); } }
"""


def page(report: Report, folder: Path) -> str:
    """The whole document; links are relative to ``folder``, where it will lie."""
    style = resources.files("hmu.report.page").joinpath("assets/style.css").read_text(encoding="utf-8")
    measured = len(report.runs) - len(report.unmeasured)
    title = f"{measured} of {len(report.runs)} runs measured"
    methods = list(dict.fromkeys(line.first.choices["method"] for line in report.lines))
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        el("title", title),
        Markup(f"<style>{style}{_STYLE}</style>"),
    ]
    content: list[Content] = [_task(report, front, methods, folder) for front in report.fronts]
    if report.published is not None:
        content.append(_published(report.published, report.lines))
    if report.unmeasured:
        content.append(_unmeasured(report.unmeasured, folder))
    content.append(
        el("section", el("h2", "How to read this"), [el("p", text, class_="lede") for text in how_to_read(report)])
    )
    top = el("header", el("p", "many runs", class_="over"), el("h1", title), el("p", _summary(report), class_="lede"))
    document = el("html", el("head", head), el("body", top, el("main", content)), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _summary(report: Report) -> str:
    found = [front for front in report.fronts if front.knee is not None]
    if not found:
        return "No run has both scores, so there is no front."
    return " ".join(f"{' · '.join(front.task)}: {verdict(front)}" for front in found)


# -- one task ----------------------------------------------------------------------------------------------------------
def _task(report: Report, front: Front, methods: Sequence[str], folder: Path) -> Markup:
    parts: list[Content] = [el("h2", " · ".join(front.task))]
    if front.points:
        parts.append(el("figure", plane(front, methods), _key(front, methods), el("figcaption", verdict(front))))
    else:
        parts.append(el("p", verdict(front), class_="faint"))
    parts.append(_table(report, front, folder))
    return el("section", parts, class_="task")


def plane(front: Front, methods: Sequence[str]) -> Markup:
    """Forgotten to the right, kept upwards; both axes end at 100 % and begin where the runs do."""
    low_x = _floor(min(point.forget for point in front.points))
    low_y = _floor(min(point.keep for point in front.points))

    def place(forget: float, keep: float) -> tuple[float, float]:
        x = _LEFT + _WIDE * (forget - low_x) / (1 - low_x)
        return round(x, 1), round(_TOP + _HIGH * (1 - (keep - low_y) / (1 - low_y)), 1)

    parts = _grid(low_x, low_y)
    corners = (place(point.forget, point.keep) for point in front.best)
    parts.append(el("polyline", points=" ".join(f"{x},{y}" for x, y in corners), class_="front"))
    for point in sorted(front.points, key=lambda p: p in front.best):
        parts.append(_dot(point, front, methods, place(point.forget, point.keep)))
    parts += _names(front, place)
    words = "; ".join(f"{p.line.first.name}: {p.forget:.0%} forgotten, {p.keep:.0%} kept" for p in front.points)
    box = f"0 0 {_LEFT + _WIDE + 40:.0f} {_TOP + _HIGH + 48:.0f}"
    return el("svg", parts, class_="plane", viewBox=box, role="img", aria_label=words)


def _floor(value: float) -> float:
    """Where an axis begins: the tenth below the smallest value, at most 0.9."""
    return max(0.0, min(0.9, int((value - 0.02) * 10) / 10))


def _grid(low_x: float, low_y: float) -> list[Markup]:
    parts = []
    bottom, right = _TOP + _HIGH, _LEFT + _WIDE
    for step in range(6):
        x, y = _LEFT + _WIDE * step / 5, bottom - _HIGH * step / 5
        parts.append(el("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid"))
        parts.append(el("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(el("text", _percent(low_x, step), x=x, y=bottom + 18, class_="tick middle"))
        parts.append(el("text", _percent(low_y, step), x=_LEFT - 8, y=y + 4, class_="tick end"))
    parts.append(el("text", "forgotten →", x=right, y=bottom + 40, class_="label end"))
    parts.append(el("text", "↑ kept", x=_LEFT - 40, y=_TOP - 10, class_="label start"))
    return parts


def _percent(low: float, step: int) -> str:
    return f"{100 * (low + (1 - low) * step / 5):.3g} %"


def _dot(point: Point, front: Front, methods: Sequence[str], where: tuple[float, float]) -> Markup:
    number = methods.index(point.line.first.choices["method"])
    look = "dot" if point in front.best else "dot beaten"
    tip = f"{point.line.first.name}: {100 * point.forget:.1f} % forgotten, {100 * point.keep:.1f} % kept"
    parts = [el("title", tip), symbol(number, *where, look)]
    if point is front.knee:
        parts.append(el("circle", cx=where[0], cy=where[1], r=11, class_="knee"))
    return el("g", parts)


def symbol(number: int, x: float, y: float, look: str) -> Markup:
    """The mark of the ``number``-th method: a hue and a shape."""
    hue = f"--hue: {_HUES[number % len(_HUES)]}"
    shape, r = _SHAPES[number % len(_SHAPES)], 5.5
    if shape == "circle":
        return el("circle", cx=x, cy=y, r=r, class_=look, style=hue)
    corners = {
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
        "triangle": ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    }[shape]
    points = " ".join(f"{x + r * dx:.1f},{y + r * dy:.1f}" for dx, dy in corners)
    return el("polygon", points=points, class_=look, style=hue)


def _names(front: Front, place: Callable[[float, float], tuple[float, float]]) -> list[Markup]:
    """Labels of the front's points, moved down where they would cover each other."""
    parts, taken = [], list[float]()
    for point in front.best:
        x, y = place(point.forget, point.keep)
        y -= 10
        while any(abs(y - other) < 13 for other in taken):
            y += 13
        taken.append(y)
        side, away = ("end", -10) if x > _LEFT + _WIDE / 2 else ("start", 10)
        parts.append(el("text", point.line.first.name, x=x + away, y=y, class_=f"name {side}"))
    return parts


def _key(front: Front, methods: Sequence[str]) -> Markup:
    used = dict.fromkeys(point.line.first.choices["method"] for point in front.points)
    marks_ = [el("li", el("svg", symbol(methods.index(name), 7, 7, "dot"), width=14, height=14), name) for name in used]
    return el("ul", marks_, class_="key")


def _table(report: Report, front: Front, folder: Path) -> Markup:
    runs = [run for line in report.lines if line.first.task == front.task for run in line.runs]
    rows = []
    for name, line, numbers in body(report, front):
        sign = marks(front, line)
        kind = "anchor" if line is None else "knee" if sign == "★" else None
        cells = [el("td", cell(found), class_="number", title=_interval(found)) for found in numbers]
        seconds = "" if line is None or line.seconds is None else f"{line.seconds:.0f}"
        first = el("th", _linked(name, line, folder), scope="row")
        rows.append(
            el("tr", first, el("td", sign, class_="sign"), cells, el("td", seconds, class_="number"), class_=kind)
        )
    return _scrolled(_heads(report, runs), rows)


def _heads(report: Report, runs: Sequence[Run]) -> list[Markup]:
    """Two rows: the prompt sets over their metrics."""
    groups = [(set_, len(list(keys))) for set_, keys in groupby(report.columns, key=lambda key: key[0])]
    above = [el("th", set_name(set_), colspan=count, scope="colgroup", class_="group") for set_, count in groups]
    below = [el("th", _short(key, runs), scope="col") for key in report.columns]
    first = [el("th", "run", rowspan=2, scope="col", colspan=2)]
    return [
        el("tr", first, above, el("th", "seconds", rowspan=2, scope="col")),
        el("tr", below),
    ]


def _short(key: Key, runs: Sequence[Run]) -> str:
    """``‘kick’ seen ↓``."""
    concepts = {run.choices["concept"] for run in runs}
    label = f"‘{concepts.pop()}’ seen" if len(concepts) == 1 else "concept seen"
    name = metric_name(key[1], key[2]) if key[1] != "detector_rate" else label if key[2] == "*" else "asked-for seen"
    arrow = heading(key, runs)[-1]
    return f"{name} {arrow}" if arrow in ARROWS.values() else name


def _scrolled(heads: Sequence[Markup], rows: Sequence[Markup], look: str = "runs") -> Markup:
    return el("div", el("table", el("thead", heads), el("tbody", rows), class_=look), class_="scroll")


def _interval(found: Number | None) -> str | None:
    if found is None or found.low is None or found.high is None:
        return None
    low, high = (cell(Number(found.metric, edge)) for edge in (found.low, found.high))
    return f"{low} to {high}" + (f" over {found.seeds} seeds" if found.seeds > 1 else " (95 %)")


def _linked(name: str, line: Line | None, folder: Path) -> Content:
    """A line's name as a link to its run's report; with several seeds a link for each."""
    if line is None:
        return name
    if len(line.runs) == 1:
        return _link(name, line.first, folder)
    return [name, [[" ", el("small", _link(f"seed {run.seed}", run, folder))] for run in line.runs]]


def _link(words: str, run: Run, folder: Path) -> Markup:
    """A link to the run's report, or to its folder where it has none."""
    return el("a", words, href=relative(run.report or run.path, folder))


def relative(target: Path, folder: Path) -> str:
    """A link from a page in ``folder``, with forward slashes and escaped; absolute across drives."""
    try:
        found = Path(os.path.relpath(target.resolve(), folder.resolve()))
    except ValueError:  # Windows: another drive
        return target.resolve().as_uri()
    return quote(found.as_posix())


# -- what follows the tasks --------------------------------------------------------------------------------------------
def _published(table: Published, lines: Sequence[Line]) -> Markup:
    pairs = beside(table, lines)
    parts: list[Content] = [
        el("h2", f"Published beside ours: {table.title}"),
        el("p", about(table, pairs), class_="faint"),
    ]
    for side in SIDES:
        head, rows = table_of(table, pairs, side)
        body_ = []
        for name, run, *cells in rows:
            values = [el("td", text, class_="number" if i % 2 else "number theirs") for i, text in enumerate(cells)]
            body_.append(el("tr", el("th", name, scope="row"), el("td", run), values))
        parts.append(_scrolled([el("tr", [el("th", text, scope="col") for text in head])], body_, "runs published"))
    return el("section", parts)


def _unmeasured(runs: Sequence[Run], folder: Path) -> Markup:
    rows = [
        el("tr", el("td", el("a", run.path.name, href=relative(run.path, folder))), el("td", run.name),
           el("td", run.problem or "", class_="problem"))
        for run in runs
    ]  # fmt: skip
    head = el("tr", [el("th", text, scope="col") for text in ("run", "what", "why")])
    return el("section", el("h2", f"Without numbers: {len(runs)}"), _scrolled([head], rows, "runs words"))
