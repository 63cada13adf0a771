"""Published tables beside our own runs. Their figures are ``configs/published/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hmu.errors import ConfigError
from hmu.report.runs import Line, mean_of, row_of
from hmu.report.table import Cell, Column, Table, TableLine

FIELDS = ("title", "source", "dataset", "concept", "backbone", "names", "arrows", "rows")
SIDES = ("forget", "retain")


@dataclass(frozen=True)
class PublishedRow:
    """One row: its name on the page, the method (``base``, ``reference``, ``lcr`` …), figures by side and metric."""

    name: str
    method: str
    figures: Mapping[str, Mapping[str, float]]

    @property
    def model(self) -> str:
        """Which of our models the row is about."""
        return self.method if self.method in ("base", "reference") else "unlearned"


@dataclass(frozen=True)
class Published:
    """Published tables of one data set and concept, beside which runs of ours with the same belong.

    ``names``: of the metrics on the page; ``arrows``: by side and metric; ``rows``: in the page's order.
    """

    title: str
    source: str
    dataset: str
    concept: str
    backbone: str
    names: Mapping[str, str]
    arrows: Mapping[str, Mapping[str, str]]
    rows: tuple[PublishedRow, ...]

    @classmethod
    def parse(cls, node: Mapping[str, Any]) -> Published:
        """From a ``configs/published`` file; ConfigError where a field is missing."""
        missing = [key for key in FIELDS if key not in node]
        if missing:
            raise ConfigError(f"published table lacks {', '.join(missing)}")
        rows = tuple(PublishedRow(r["name"], r["method"], {s: dict(r.get(s, {})) for s in SIDES}) for r in node["rows"])
        plain = {key: node[key] for key in FIELDS if key != "rows"}
        return cls(**plain, rows=rows)

    def metrics(self, side: str) -> list[str]:
        """Columns of one side, in the page's order."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.figures[side]))

    def heading(self, side: str, metric: str) -> str:
        """``FID →``."""
        return f"{self.names.get(metric, metric)} {self.arrows.get(side, {}).get(metric, '')}".strip()

    def recovery(self, row: PublishedRow, side: str, metric: str) -> float | None:
        """(row - base) / (reference - base) of the published figures; None where one of them is missing."""
        anchors = {r.method: r.figures[side].get(metric) for r in self.rows if r.method in ("base", "reference")}
        base, reference, value = anchors.get("base"), anchors.get("reference"), row.figures[side].get(metric)
        if row.method in anchors or base is None or reference is None or value is None or base == reference:
            return None
        return (value - base) / (reference - base)


def belongs(table: Published, line: Line) -> bool:
    """Whether a run of ours is about the same: data set, concept, and a backbone of that family."""
    dataset, backbone, concept = line.first.task
    return (dataset, concept) == (table.dataset, table.concept) and backbone.split("_")[0] == table.backbone


def beside(table: Published, lines: Sequence[Line]) -> list[tuple[PublishedRow, Line | None]]:
    """The published rows, each with our run of the same method; a method that we ran several times has several."""
    ours = [line for line in lines if belongs(table, line)]
    pairs: list[tuple[PublishedRow, Line | None]] = []
    for row in table.rows:
        if row.model == "unlearned":
            fitting = [line for line in ours if line.first.choices["method"] == row.method]
        else:
            has = (line for line in ours if any(r.model == row.model for run in line.runs for r in run.measured))
            fitting = list(has)[:1]
        pairs += [(row, line) for line in fitting] or [(row, None)]
    return pairs


def source_of(table: Published, lines: Sequence[Line]) -> str:
    """Where the figures are from, and whether we have anything beside them."""
    source = f"Source: {table.source}. In brackets: recovery towards the reference."
    if any(belongs(table, line) for line in lines):
        return source
    return f"{source} None of these runs is of {table.dataset} · {table.backbone} · {table.concept}."


def published_tables(table: Published, lines: Sequence[Line]) -> list[Table]:
    """One per side: name, our run, then their figure and ours by metric, recovery in brackets."""
    return [_side(table, lines, side) for side in SIDES]


def _side(table: Published, lines: Sequence[Line], side: str) -> Table:
    metrics = table.metrics(side)
    columns = [Column(f"{side} set", numeric=False), Column("our run", numeric=False)]
    columns += [Column(name) for metric in metrics for name in (table.heading(side, metric), "ours")]
    digits = {m: max(_decimals(row.figures[side][m]) for row in table.rows if m in row.figures[side]) for m in metrics}
    rows = []
    for row, line in beside(table, lines):
        cells = [Cell(row.name), Cell("–" if line is None else line.first.name)]
        for metric in metrics:
            theirs = row.figures[side].get(metric), table.recovery(row, side, metric)
            cells.append(Cell(_figure(*theirs, side, digits[metric]), look="theirs"))
            cells.append(Cell(_figure(*_ours(row, line, side, metric), side, digits[metric])))
        rows.append(TableLine(tuple(cells)))
    return Table(tuple(columns), tuple(rows), caption=f"{table.title}, {side} set: published and ours")


def _ours(row: PublishedRow, line: Line | None, side: str, metric: str) -> tuple[float | None, float | None]:
    """Our value and its recovery, means over seeds, None where there is none."""
    runs = () if line is None else line.runs
    rows = [entry for run in runs if (entry := row_of(run, row.model, (side, metric, None))) is not None]
    return mean_of(entry.value for entry in rows), mean_of(entry.recovery for entry in rows)


def _decimals(value: float) -> int:
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])


def _figure(value: float | None, recovered: float | None, side: str, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f" ({recovered:.2f})" if recovered is not None and side == "forget" else "")
