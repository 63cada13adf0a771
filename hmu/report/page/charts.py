"""Small drawings of numbers as SVG, coloured by the page's style sheet so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hmu.report.page.markup import Markup, el
from hmu.report.page.numbers import Measured, Numbers, interval, kind, metric_name, model_name, whole
from hmu.viz.plots import Rate, RateRow

_LEFT, _TOP, _WIDE, _HIGH = 46.0, 22.0, 330.0, 220.0
_Y_MOST = 1.15


def ranges(line: Mapping[str, RateRow], metric: str) -> Markup:
    """Shares of several models on one axis from 0 to 100 %, with their intervals."""
    parts = [el("line", x1="0%", x2="100%", y1=9, y2=9, class_="axis")]
    for model, row in line.items():
        low, high = (min(1.0, max(0.0, row.value if edge is None else edge)) for edge in (row.low, row.high))
        parts.append(
            el("line", x1=f"{100 * low:.1f}%", x2=f"{100 * high:.1f}%", y1=9, y2=9, class_=f"span {kind(model)}")
        )
        parts.append(_mark(model, f"{100 * row.value:.1f}%", "9"))
    words = ", ".join(f"{model_name(model)} {whole(row.value, metric)}" for model, row in line.items())
    return el("svg", parts, class_="range", role="img", aria_label=words)


def _mark(model: str, x: str, y: str, small: bool = False) -> Markup:
    """A ring for the base, a dot for what is compared with it: both stay visible where they meet."""
    radius = 5 if model == "base" else 4
    return el("circle", cx=x, cy=y, r=radius - small, class_=f"mark {kind(model)}" + (" hollow" if small else ""))


@dataclass(frozen=True)
class Spot:
    """One model in the plane: what was forgotten to the right, what was kept upwards, both with intervals."""

    model: str
    forgotten: Rate
    kept: Rate
    hard: Mapping[str, float]  #: forgotten share on the prompt sets that test whether it holds


def spots(numbers: Numbers, concept: str, hard: Sequence[str]) -> list[Spot]:
    """Models whose two rates were measured; empty without detectors."""
    base = numbers.get("base", "retain", "detector_rate")
    if base is None or not base.value:
        return []
    found = []
    for model in numbers.models:
        asked, kept = (
            numbers.get(model, "forget", "detector_rate", concept),
            numbers.get(model, "retain", "detector_rate"),
        )
        if asked is None or kept is None:
            continue
        rates = {name: numbers.get(model, name, "detector_rate", concept) for name in hard}
        left = {name: 1 - row.value for name, row in rates.items() if row is not None}
        low, high = (None if edge is None else 1 - edge for edge in (asked.high, asked.low))
        share = [None if v is None else v / base.value for v in (kept.low, kept.high)]
        found.append(Spot(model, Rate(1 - asked.value, low, high), Rate(kept.value / base.value, *share), left))
    return found


def plane(points: Sequence[Spot]) -> Markup:
    """Forget against keep; the upper right corner is where one wants to be."""
    parts, names = [*_grid(), *_target()], list[tuple[float, float]]()
    for point in points:
        parts += _spot(point, names)
    return el(
        "svg", parts, class_="plane", viewBox=f"0 0 {_LEFT + _WIDE + 24:.0f} {_TOP + _HIGH + 42:.0f}", role="img",
        aria_label="Share forgotten against share kept: " + "; ".join(
            f"{model_name(p.model)} {p.forgotten.value:.0%} forgotten, {p.kept.value:.0%} kept" for p in points
        ),
    )  # fmt: skip


def _x(value: float) -> float:
    return round(_LEFT + _WIDE * min(1.0, max(0.0, value)), 2)


def _y(value: float) -> float:
    return round(_TOP + _HIGH * (1 - min(_Y_MOST, max(0.0, value)) / _Y_MOST), 2)


def _grid() -> list[Markup]:
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x, y = _x(percent / 100), _y(percent / 100)
        parts.append(el("line", x1=x, x2=x, y1=_TOP, y2=_y(0), class_="grid"))
        parts.append(el("line", x1=_LEFT, x2=_x(1), y1=y, y2=y, class_="grid"))
        parts.append(el("text", f"{percent} %", x=x, y=_y(0) + 17, class_="tick middle"))
        parts.append(el("text", f"{percent} %", x=_LEFT - 8, y=y + 4, class_="tick end"))
    parts.append(el("text", "forgotten →", x=_x(1), y=_y(0) + 36, class_="label end"))
    parts.append(el("text", "↑ kept", x=_LEFT - 8, y=_TOP + 1, class_="label start"))
    return parts


def _target() -> list[Markup]:
    return [el("circle", cx=_x(1), cy=_y(1), r=11, class_="target")]


def _bar(x: tuple[float, float], y: tuple[float, float], look: str) -> Markup:
    return el("line", x1=x[0], x2=x[1], y1=y[0], y2=y[1], class_=f"span {look}")


def _spot(point: Spot, names: list[tuple[float, float]]) -> list[Markup]:
    """Mark and names of a point; ``names``: where earlier ones stand, so that this one finds a free line above them."""
    x, y, look = _x(point.forgotten.value), _y(point.kept.value), kind(point.model)
    (left, right), (down, up) = point.forgotten.errors, point.kept.errors
    parts = [
        _bar((_x(point.forgotten.value - left), _x(point.forgotten.value + right)), (y, y), look),
        _bar((x, x), (_y(point.kept.value - down), _y(point.kept.value + up)), look),
    ]
    if point.model not in ("base", "reference"):
        for number, (name, value) in enumerate(sorted(point.hard.items(), key=lambda item: item[1])):
            parts.append(_mark(point.model, f"{_x(value)}", f"{y}", small=True))
            edge = "end" if value > 0.6 else "middle"
            parts.append(el("text", name, x=_x(value), y=y + 18 + 12 * number, class_=f"tick {edge}"))
    parts.append(_mark(point.model, f"{x}", f"{y}"))
    side = "end" if point.forgotten.value > 0.6 else "start"
    away = -9 if side == "end" else 9
    line = y - 10
    while any(abs(line - other) < 13 and abs(x - beside) < 110 for beside, other in names):
        line -= 13
    names.append((x, line))
    parts.append(el("text", model_name(point.model), x=x + away, y=line, class_=f"name {look} {side}"))
    return parts


def actions(numbers: Numbers, concept: str) -> list[tuple[str, dict[str, Measured]]]:
    """Detection rate of every action where it is asked for, the concept first: how specific the change is."""
    rows: list[tuple[str, dict[str, Measured]]] = []
    asked = numbers.line("forget", "detector_rate", concept)
    if asked:
        rows.append((concept, asked))
    rest = [
        (str(label), numbers.line("retain", metric, label))
        for _, metric, label in numbers.keys("retain")
        if metric == "detector_rate" and label not in (None, concept)
    ]
    # Frequent actions first: below them the intervals are wide.
    rows += sorted((item for item in rest if item[1]), key=lambda item: (-max(r.n for r in item[1].values()), item[0]))
    return rows


def ladder(rows: Sequence[tuple[str, Mapping[str, Measured]]]) -> Markup:
    """:func:`actions` as a table with one axis per line."""
    body = [
        el(
            "tr",
            el("th", label.replace("_", " "), scope="row"),
            el("td", ranges(line, "detector_rate"), class_="wide"),
            el("td", pair(line), class_="pair"),
            el("td", str(next(iter(line.values())).n), class_="faint number"),
        )
        for label, line in rows
    ]
    head = el(
        "tr", el("th", "action asked for", scope="col"), el("th"), el("th", "detected", scope="col"), el("th", "n")
    )
    return el("table", el("thead", head), el("tbody", body), class_="ladder")


def pair(line: Mapping[str, Measured]) -> list[Markup]:
    """The values of several models in their colours; the style sheet puts arrows between them."""
    return [
        el("span", whole(row.value, row.metric), class_=f"model {kind(model)}", title=_hint(row))
        for model, row in line.items()
    ]


def _hint(row: Measured) -> str:
    return f"{metric_name(row.metric, row.label)}: {interval(row, row.metric)} (95 %)"
