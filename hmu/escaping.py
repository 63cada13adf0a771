"""Text of others in the files that we write: one function per format, so that it stays text wherever it is opened.

Prompts, captions, ids, run names and settings may hold anything. HTML and SVG come from the templates
of :mod:`hmu.report.page.rendering`, which escape by themselves.
"""

from __future__ import annotations

import re

from hmu.errors import printable

_FORMULA = re.compile(r"'*(?:[\t\r]|\s*[=+\-@＝＋－＠])")  # spreadsheets compute cells that begin so, wide signs too
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    "<": r"\textless{}", ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}
}  # fmt: skip
_SIGNS = {
    "↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "–": "--", "−": "$-$", "★": r"$\star$",
    "●": r"$\bullet$", "λ": r"$\lambda$", "·": r"$\cdot$",
}  # fmt: skip


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before one. Numbers stay numbers."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def csv_text(cell: str) -> str:
    """Inverse of :func:`csv_cell`, of a cell that is read back."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def markdown_text(text: object) -> str:
    """Text inside a line or a table's cell of Markdown: no markup, no link, no end of the cell or the line."""
    one_line = " ".join(str(text).split()).replace("\\", "\\\\")
    return one_line.replace("<", "&lt;").replace("|", "\\|").replace("](", "]\\(").replace("`", "\\`")


def latex_text(text: object) -> str:
    """Text that LaTeX prints as it is, on one line; arrows and marks as mathematics."""
    return "".join(_LATEX.get(sign, _SIGNS.get(sign, sign)) for sign in printable(" ".join(str(text).split())))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
