"""``report.html`` in a real browser, where there is one."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from hmu.motion.skeleton import T2M
from hmu.report.page import Clip, Stick, Take, page
from hmu.report.page.motions import pack
from tests.report.page.browser import NAMES, Browser, found
from tests.report.page.unpacking import unpack
from tests.report.page.web_sample import EVIL, evaluated, rates, rows, takes

pytestmark = pytest.mark.skipif(found() is None, reason=f"no browser on this machine (looked for {', '.join(NAMES)})")

STATE = "document.querySelector('#viewer')?.dataset.state"
CLOCK = "document.querySelector('#time').textContent"
CHOSEN = "document.querySelector('#viewer').dataset.prompt"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page and wait until its viewer stands; afterwards nobody may have complained."""

    def go(html: str, width: int = 840, dark: bool = False, calm: bool = True) -> Browser:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        browser.errors.clear()
        browser.requests.clear()
        browser.window(width, 640, dark, calm)
        browser.open(path)
        browser.until(f"{STATE} && document.title.startsWith('esd')")
        return browser

    yield go
    assert browser.errors == []
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "blob", "data"}


def pixels(browser: Browser) -> np.ndarray:
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(browser.screenshot("#stage"))).convert("RGB"), dtype=float)


def test_it_plays_seeks_and_picks_by_mouse_and_keys(visit):
    page_ = visit(page(**evaluated()), calm=False)
    assert page_.run(STATE) == "ready"
    page_.run("document.querySelector('#viewer').scrollIntoView()")
    page_.until(f"parseFloat({CLOCK}) > 0.2")  # by itself, once it is in sight
    page_.run("document.querySelector('#stage canvas').focus()")
    page_.press(" ", "Space", " ")
    stopped = page_.run(CLOCK)
    assert page_.run("document.querySelector('#play').ariaLabel") == "Play"
    page_.press("ArrowRight")
    assert page_.run(CLOCK) != stopped
    page_.press("End")
    assert page_.run(CLOCK) == "1.95 / 1.95 s"
    page_.press("ArrowDown")
    assert page_.run(CHOSEN) == "1"
    page_.click("#prompt-2")
    assert page_.run(CHOSEN) == "2"
    assert page_.run("document.querySelector('#prompt').textContent") == "“a person walks number 2”"
    page_.press(",", "Comma", ",")
    assert page_.run("document.querySelector('#speed').value") == "0.5"
    page_.run("filter.value = 'KICKS'; filter.dispatchEvent(new Event('input'))")
    assert page_.run("[...document.querySelectorAll('[role=option]')].filter(o => o.offsetParent).length") == 1
    assert page_.run("document.querySelector('#prompt-0').textContent") == EVIL
    titles = page_.run("[...document.querySelectorAll('.panel h3')].map(h => h.textContent).join()")
    assert titles == "Base,Unlearned,Real clip"


def test_figures_are_drawn_move_turn_and_follow_the_visitor(visit):
    page_ = visit(page(**evaluated()))
    page_.run("document.querySelector('#viewer').scrollIntoView()")
    page_.run("new Promise(done => setTimeout(done, 300))")
    assert page_.run(CLOCK).startswith("0.00"), "a visitor who wants calm gets it"
    first = pixels(page_)
    for panel in np.array_split(first, 3, axis=1):
        assert panel[60:-20, 20:-20].std() > 8, "nothing is drawn below the title"
    page_.run("document.querySelector('#stage canvas').focus({preventScroll: true})")
    page_.press("ArrowRight")
    assert page_.run(CLOCK).startswith("0.05")
    moved = pixels(page_)
    assert np.abs(moved - first).max() > 30
    page_.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft", modifiers=8)
    assert np.abs(pixels(page_) - moved).mean() > 0.5
    page_.window(840, 640, dark=True, calm=True)
    dark = pixels(page_)
    assert np.median(moved) > 240
    assert np.median(dark) < 40
    assert dark.std() > 8
    page_.window(390, 640, calm=True)
    assert page_.run("document.documentElement.scrollWidth") == 390, "nobody has to scroll sideways"
    assert pixels(page_).std() > 8


def test_nobody_scrolls_sideways_on_a_telephone(visit):
    wide = rates("retain", 1.0, 1.0, "walk_backwards", 100)
    page_ = visit(page(**evaluated(rows=rows() + wide)))
    page_.window(390, 640, calm=True)
    assert page_.run("document.documentElement.scrollWidth") == 390


def test_the_script_reads_what_python_packed(visit):
    rng = np.random.default_rng(1)
    arrows = rng.uniform(-60, 60, (5, 2, 2, 3))  # beyond 32 m: a coarser step, and differences that wrap
    clips = {"base": Clip(rng.uniform(-60, 60, (5, 22, 3)), arrows), "real": Clip(rng.uniform(-1, 1, (3, 22, 3)))}
    sample = [Take("p", "forget", clips), *takes(2)]
    page_ = visit(page(**evaluated(takes=sample)))
    read = page_.run("""(async () => {
      const text = document.querySelector('script[data-module="./motions.js"]').textContent;
      const module = await import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})));
      const facts = JSON.parse(document.getElementById("takes").textContent);
      const takes = await module.readTakes(facts, document.getElementById("motions").textContent);
      return JSON.stringify(takes.map(t => t.clips.map(c => Array.from(c.values))));
    })()""")
    wanted = unpack(*pack(sample, Stick.of(T2M)))
    for take, expected in zip(json.loads(str(read)), wanted, strict=True):
        for values, motion in zip(take, expected.values(), strict=True):
            assert np.allclose(values, motion.ravel(), atol=1e-5)


def test_without_webgl_the_rest_of_the_page_stays(visit):
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    html = re.sub("</head>", f"<script>{script}</script></head>", page(**evaluated()), count=1)
    page_ = visit(html)
    assert page_.run(STATE) == "failed"
    assert "cannot be shown here" in str(page_.run("document.querySelector('.failed').innerText"))
    assert "Is it gone?" in str(page_.run("document.body.innerText"))
    assert all("WebGL" in error for error in page_.errors)
    page_.errors.clear()
