"""Hostile text stays text in every format that is written."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess

import pytest

from hmu.errors import printable
from hmu.escaping import csv_cell, csv_text, latex_text, markdown_text

FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", " =1", "\n@x", "=cmd|' /C calc'!A0", "＝1", "'=1", "-", "=", "@",
]  # fmt: skip
HOSTILE = [
    *FORMULAS, "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a | b", "a\\| b", "![x](https://x.y/z)",
    "[x](javascript:alert(1))", "`", "a\nb", "\u2028", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\u202ex",
    "</script><script>", "<!--", "\\input{/etc/passwd}", "$\\write18{x}$", "100 % & more #1 {x} ~ ^", "\0", "^^5cinput",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    cell = str(csv_cell(text))
    assert cell[0] == "'"
    assert csv_text(cell) == text


@pytest.mark.parametrize("value", [-0.5, 3, True, None, "-0.5", "+1", "1e-5", "a kick", "", "'", "it's", "0001"])
def test_numbers_and_plain_text_stay(value):
    assert csv_cell(value) == value
    assert csv_text(str(value)) == str(value)


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_come_back(text):
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(text), "next"])
    ((found, after),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert (csv_text(found), after) == (text, "next")


def cells(line: str) -> int:
    """Cells of a row as GitHub's Markdown divides them."""
    bars, i = 0, 0
    while i < len(line):
        if line[i] == "\\":
            i += 1
        elif line[i] == "|":
            bars += 1
        i += 1
    return bars - 1


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_holds_no_markup(text):
    found = markdown_text(text)
    assert "<" not in found
    assert "](" not in found
    assert len(found.splitlines()) <= 1
    assert cells(f"| {found} | next |") == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_is_a_command_of_latex(text):
    found = latex_text(text)
    assert found.isprintable()
    commands = found
    for known in ("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"):
        commands = commands.replace(f"\\{known}{{}}", "")
    for sign in "&%$#_{}":
        commands = commands.replace(f"\\{sign}", "")
    assert not set(commands) & set("\\{}$&#%_^~")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_typesets_it(tmp_path):
    body = "\n\n".join(filter(None, (latex_text(text) for text in HOSTILE if text.isascii())))
    (tmp_path / "a.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}{body}\\end{{document}}")
    subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_is_not_steered(text):
    assert printable(text).isprintable()
