"""One table for every format: Markdown, LaTeX and CSV here, HTML by ``page/templates/table.html``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from hmu.escaping import csv_cell, latex_text, markdown_text
from hmu.evaluation.results import Row
from hmu.report.numbers import edges, value_text


@dataclass(frozen=True)
class Column:
    """A heading.

    Attributes:
        name: in full; title: on pages, empty = the name; group: on pages, what several columns have in common.
        numeric: whether its cells are set to the right; look: classes of the page's style sheet.
    """

    name: str
    title: str = ""
    group: str = ""
    numeric: bool = True
    look: str = ""


@dataclass(frozen=True)
class Cell:
    """A value, with its interval where there is one.

    Attributes:
        text: what stands there; low, high: ends of the interval; mark: behind it (†).
        hint: on pages, what is shown where the pointer rests; links: on pages, words and what they lead to; one is the
            text's own, several stand behind it.
        look: classes of the page's style sheet, beside its column's.
    """

    text: str = ""
    low: str = ""
    high: str = ""
    mark: str = ""
    hint: str = ""
    links: tuple[tuple[str, Path], ...] = ()
    look: str = ""

    @classmethod
    def of(cls, row: Row | None, look: str = "") -> Cell:
        """A measured number."""
        return cls("–", look="faint") if row is None else cls(value_text(row.value, row.kind), *edges(row), look=look)

    @property
    def plain(self) -> str:
        """``value [low, high]``."""
        return self.text + (f" [{self.low}, {self.high}]{self.mark}" if self.low else "")

    @property
    def interval(self) -> str:
        """``low – high``, the unit once."""
        return f"{self.low.removesuffix(' %')} – {self.high}{self.mark}" if self.low else ""


@dataclass(frozen=True)
class TableLine:
    """Cells of one row; ``look``: classes of the page's style sheet."""

    cells: tuple[Cell, ...]
    look: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and lines; ``ruled``: so many lines are set apart at the top; ``caption``: for LaTeX."""

    columns: tuple[Column, ...]
    lines: tuple[TableLine, ...]
    ruled: int = 0
    caption: str = ""

    @classmethod
    def of(cls, head: Sequence[str | Column], rows: Iterable[Sequence[str]]) -> Table:
        """A table of words; a heading that is only a name stands over words too."""
        columns = (Column(name, numeric=False) if isinstance(name, str) else name for name in head)
        return cls(tuple(columns), tuple(TableLine(tuple(map(Cell, row))) for row in rows))

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group, with their count; nothing where no column has one."""
        if not any(column.group for column in self.columns):
            return []
        return [(group, len(list(columns))) for group, columns in groupby(self.columns, key=lambda c: c.group)]

    def without_empty_columns(self) -> Table:
        """Only columns in which something stands."""
        shown = [i for i in range(len(self.columns)) if any(line.cells[i].text for line in self.lines)]
        lines = tuple(replace(line, cells=tuple(line.cells[i] for i in shown)) for line in self.lines)
        return replace(self, columns=tuple(self.columns[i] for i in shown), lines=lines)

    def markdown(self) -> list[str]:
        """Lines of Markdown."""
        rows = [[column.name for column in self.columns], *([cell.plain for cell in line.cells] for line in self.lines)]
        head, *body = [f"| {' | '.join(map(markdown_text, row))} |" for row in rows]
        return [head, "|" + "".join("--:|" if column.numeric else "---|" for column in self.columns), *body]

    def latex(self) -> str:
        """A ``table`` of LaTeX with ``booktabs``."""
        rows = [[cell.plain for cell in line.cells] for line in self.lines]
        head, *body = [
            " & ".join(map(latex_text, row)) + r" \\" for row in ([column.name for column in self.columns], *rows)
        ]
        if 0 < self.ruled < len(body):
            body.insert(self.ruled, r"\midrule")
        form = "".join("r" if column.numeric else "l" for column in self.columns)
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex_text(self.caption)}}}",
                rf"\begin{{tabular}}{{{form}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )


def csv_of(records: Sequence[Mapping[str, object]]) -> str:
    """Records as CSV with all their keys as columns; what is absent, None or not finite is empty."""
    text = io.StringIO()
    keys = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(text, keys, restval="", lineterminator="\n")
    writer.writerow({key: csv_cell(key) for key in keys})
    writer.writerows({key: csv_cell(_plain(value)) for key, value in record.items()} for record in records)
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value
