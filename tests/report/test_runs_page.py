"""The page of many runs: it asks for nothing else, its links lead to the runs, and anything may be in a name."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from hmu.report.comparison import build_report
from hmu.report.page.comparison import page
from hmu.report.page.rendering import address
from tests.report.page.browser import NAMES, Browser, found
from tests.report.some_runs import write_run

VOID = {"meta"}


class Reader(HTMLParser):
    """Links and texts of a page, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given["href"]] if tag == "a" else []
        self.loaded += [given[key] for key in ("src", "srcset") if key in given] + (["link"] if tag == "link" else [])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "a,b=1" / "rank=4 %", "method.rank=4", rates=(0.4, 0.8))
    write_run(tmp_path / "a,b=1" / "rank=8", "method.anchor=<b>&", rates=(0.0, 0.7))
    write_run(tmp_path / "esd", rates=(0.2, 0.72), method="esd")
    write_run(tmp_path / "broken", "method.rank=2", rates=None, status="running")
    return tmp_path


def read(runs, out):
    reader = Reader()
    text = page(build_report([runs]), out)
    reader.feed(text)
    assert not reader.open
    return text, reader


def test_every_link_leads_to_a_run(runs):
    out = runs / "deep" / "report"
    out.mkdir(parents=True)
    _, reader = read(runs, out)
    assert len(reader.links) == 4
    for link in reader.links:
        assert (out / unquote(link)).exists()
    assert sum(link.endswith("report.md") for link in reader.links) == 3


def test_nothing_is_loaded_and_names_are_escaped(runs):
    text, reader = read(runs, runs)
    assert reader.loaded == []
    assert "<b>" not in text
    assert any("anchor=<b>&" in part for part in reader.texts)
    assert "@import" not in text
    assert "url(http" not in text


def test_the_plane_has_a_mark_per_run_and_one_knee(runs):
    text, _ = read(runs, runs)
    assert text.count('class="plane"') == 1
    assert text.count('class="knee"') == 1 + 1  # the ring and the row of the table
    assert text.count("</g>") == 3
    assert "Without numbers: 1" in text


def test_links_use_forward_slashes(tmp_path):
    assert address(tmp_path / "a b" / "report.md", tmp_path / "out") == "../a%20b/report.md"


@pytest.mark.skipif(found() is None, reason=f"no browser on this machine (looked for {', '.join(NAMES)})")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_and_asks_for_nothing_else(runs, tmp_path, dark):
    file = tmp_path / "report.html"
    file.write_text(page(build_report([runs]), tmp_path), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.window(1280, 900, dark)
        browser.open(file)
        browser.until("document.readyState === 'complete' && !!document.querySelector('.plane .knee')")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        ring = "document.querySelector('.plane .knee').getBoundingClientRect()"
        assert browser.run(f"{ring}.width > 10 && {ring}.right < innerWidth")
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(21, 23, 27)") == dark
        assert browser.errors == []
        assert {address.partition(":")[0] for address in browser.requests} == {"file"}
