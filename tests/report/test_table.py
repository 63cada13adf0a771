"""One table in every format."""

from __future__ import annotations

from hmu.evaluation.results import Row
from hmu.report.numbers import arrow, number, set_title, typeset
from hmu.report.page.rendering import environment
from hmu.report.table import Cell, Column, Table, TableLine, csv_of

FID = Row("base", "retain", "fid", -1234.0, 0.5, 2.25, interval="repeats")
RATE = Row("base", "forget", "detector_rate", 0.905, 0.8, 1.0, label="kick")
COLUMNS = (Column("metric", numeric=False), Column("base", "Base", "models"), Column("change", group="models"))
TABLE = Table(
    COLUMNS,
    (TableLine((Cell("a | b_c"), Cell.of(RATE), Cell())), TableLine((Cell("fid"), Cell.of(FID), Cell()), "knee")),
    ruled=1,
    caption="100 % of it",
)


def test_markdown_sets_numbers_to_the_right_and_writes_intervals():
    assert TABLE.markdown() == [
        "| metric | base | change |",
        "|---|--:|--:|",
        "| a \\| b_c | 90.5 % [80.0 %, 100.0 %] |  |",
        "| fid | -1234 [0.5, 2.25]† |  |",
    ]


def test_latex_is_ruled_and_escaped():
    text = TABLE.latex()
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{100 \% of it}" in text
    assert text.splitlines().count(r"\midrule") == 2
    assert r"b\_c & 90.5 \% [80.0 \%, 100.0 \%] &" in text


def test_pages_write_the_unit_once_and_typeset_numbers():
    draw = environment().get_template("table.html").module.draw
    html = str(draw(TABLE))
    assert '<td class="number">90.5\u202f%<small>80.0 – 100.0\u202f%</small></td>' in html
    assert "−1234<small>0.5 – 2.25†</small>" in html
    assert '<th scope="colgroup" class="group" colspan="2">models</th>' in html
    assert '<tr class="knee">' in html
    assert '<th scope="row">a | b_c</th>' in html


def test_empty_columns_go():
    assert [column.name for column in TABLE.without_empty_columns().columns] == ["metric", "base"]


def test_records_become_csv_with_all_keys():
    text = csv_of([{"a": 0.123456789, "b": None}, {"a": float("nan"), "c": "=1"}])
    assert text == "a,b,c\n0.123457,,\n,,'=1\n"


def test_words_of_numbers():
    assert number(RATE) == "90.5 % [80.0 %, 100.0 %]"
    assert arrow("reference", RATE, RATE) == "→"
    assert set_title("paraphrase") == "Paraphrased prompts: efficacy without the keywords"
    assert set_title("my_set") == "My set"
    assert typeset("it's 'kick' in 5% or 6 %, -3 ↓") == "it’s ‘kick’ in 5\u202f% or 6\u202f%, −3\u00a0↓"
    assert typeset("lora-4 x=1-2") == "lora-4 x=1-2"
