"""The tables of a report in LaTeX with ``booktabs``."""

from __future__ import annotations

from collections.abc import Sequence

from hmu.escaping import latex_text
from hmu.report.published import SIDES, beside, table_of
from hmu.report.tables import Report, body, cell, heading, marks


def latex(report: Report) -> str:
    """One ``table`` per task, and one per side of the published table; needs ``\\usepackage{booktabs}``."""
    parts = ["% needs \\usepackage{booktabs}"]
    for front in report.fronts:
        runs = [run for line in report.lines if line.first.task == front.task for run in line.runs]
        head = ["", *(heading(key, runs) for key in report.columns)]
        rows, ruled = [], 0
        for name, line, numbers in body(report, front):
            mark = marks(front, line)
            rows.append([f"{name} {mark}".strip(), *map(cell, numbers)])
            ruled += line is None
        parts.append(_tabular(" · ".join(front.task), head, rows, ruled))
    if report.published is not None:
        table, pairs = report.published, beside(report.published, report.lines)
        for side in SIDES:
            caption = f"{table.title}, {side} set: published and ours"
            parts.append(_tabular(caption, *table_of(table, pairs, side), 0))
    return "\n\n".join(parts) + "\n"


def _tabular(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], ruled: int) -> str:
    """``ruled``: a rule follows after so many rows."""
    lines = [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
    if 0 < ruled < len(lines):
        lines.insert(ruled, r"\midrule")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex_text, head)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )
