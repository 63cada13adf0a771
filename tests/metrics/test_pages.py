"""Every metric has a page that says what it is, and no page or table points at what does not exist."""

from __future__ import annotations

import re

import pytest

from hmu.config import CONFIGS
from hmu.metrics.declared import declared
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted((DOCS / "metrics").glob("*.md"))
#: configurations that share a page with another
SHARED = {"r_precision_all": "r_precision"}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_page_tells_formula_units_direction_pitfalls_and_source(path):
    text = path.read_text(encoding="utf-8")
    for part in ("# ", "* **Units:** ", "* **Direction:** ", "* **Pitfalls**\n  * ", "* **Source:** ", "* **Code:** "):
        assert part in text, part


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (CONFIGS / "metric").glob("[!_]*.yaml") if "gait" not in p.stem)
)
def test_every_configured_metric_has_a_page(name):
    wanted = SHARED.get(name, "retrieval" if name.startswith("retrieval") else name)
    assert wanted in {path.stem for path in PAGES}


@pytest.mark.parametrize(("side", "heading"), [("forget", "* **Forget**"), ("keep", "* **Keep**")])
def test_the_scoreboards_page_names_what_its_metrics_declare(side, heading):
    items = (DOCS / "metrics" / "scoreboard.md").read_text(encoding="utf-8").split("\n* ")
    (line,) = [item for item in items if item.startswith(heading.removeprefix("* "))]
    assert sorted(re.findall(r"`([^`]+)`", line)) == sorted(
        value.name.split(" [")[0] for value in declared() if side in value.scores
    )


@pytest.mark.parametrize("path", [DOCS / "metrics.md", *PAGES], ids=lambda p: p.stem)
def test_links_and_files_named_on_a_page_exist(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+\.md)\)", text)
    files = [name for name in re.findall(r"`((?:hmu|configs|docs)/[\w/.*]+)`", text) if "*" not in name]
    assert [link for link in links if not (path.parent / link).is_file()] == []
    assert [name for name in files if not (REPOSITORY / name).exists()] == []
