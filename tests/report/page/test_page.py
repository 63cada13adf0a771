from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hmu.errors import DataError
from hmu.evaluation.results import Row
from hmu.motion.skeleton import KIT, T2M
from hmu.report.page import Clip, Stick, Take, page
from hmu.report.page.motions import pack
from tests.report.page.test_confusion_view import FOUND
from tests.report.page.unpacking import unpack
from tests.report.page.web_sample import EVIL, evaluated, long_motions, rates, rows, takes

LEGS = Stick(3, ((0, 1), (1, 2)), 100.0)


def text(html: str) -> str:
    """What a reader sees: no scripts, no styles, no tags; narrow spaces as plain ones."""
    shown = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown).replace("\u202f", " "))


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, (7, 3, 3), elements=st.floats(-30, 30, width=32)))
def test_motions_come_back_to_half_a_millimetre(joints):
    where, packed = pack([Take("p", "forget", {"base": Clip(joints), "real": Clip(joints[:2])})], LEGS)
    (back,) = unpack(where, packed)
    assert np.abs(back["base"] - joints).max() <= 0.0005 + 1e-9
    assert np.abs(back["real"] - joints[:2]).max() <= 0.0005 + 1e-9


def test_far_away_motions_get_a_coarser_step_instead_of_breaking():
    joints = np.zeros((3, 3, 3))
    joints[:, 0, 0] = [0, 100, -100]
    where, packed = pack([Take("p", "forget", {"base": Clip(joints)})], LEGS)
    assert np.abs(unpack(where, packed)[0]["base"] - joints).max() < 0.002


def test_arrows_travel_behind_the_joints():
    rng = np.random.default_rng(0)
    joints, arrows = rng.random((4, 3, 3)), rng.random((4, 2, 2, 3))
    where, packed = pack([Take("p", "forget", {"base": Clip(joints, arrows)})], LEGS)
    assert where["takes"][0]["clips"][0]["points"] == 3 + 4
    assert np.allclose(unpack(where, packed)[0]["base"][:, 3:].reshape(4, 2, 2, 3), arrows, atol=0.0006)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (Clip(np.zeros((4, 2, 3))), r"expected \(frames, 3, 3\)"),
        (Clip(np.zeros((0, 3, 3))), r"expected \(frames, 3, 3\)"),
        (Clip(np.full((4, 3, 3), np.nan)), "NaN"),
        (Clip(np.zeros((4, 3, 3)), np.zeros((3, 1, 2, 3))), r"expected \(4, arrows, 2, 3\)"),
    ],
)
def test_what_cannot_be_shown_is_refused(clip, message):
    with pytest.raises(DataError, match=message):
        pack([Take("p", "forget", {"base": clip})], LEGS)


@pytest.mark.parametrize("skeleton", [T2M, KIT])
def test_both_skeletons_have_a_figure(skeleton):
    stick = Stick.of(skeleton)
    assert len(stick.bones) == len(stick.widths) == len(stick.sides) == skeleton.joints - 1
    assert {child for _, child in stick.bones} == set(range(1, skeleton.joints))
    shades = dict(zip([skeleton.joint_names[child] for _, child in stick.bones], stick.sides, strict=True))
    assert {shades[name] for name in shades if name.startswith("right")} == {1}
    assert {shades[name] for name in shades if name.startswith("left")} == {-1}


class Loads(HTMLParser):
    """Everything a document would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action") and value]


def test_the_page_fetches_nothing_and_stays_small():
    html = page(**evaluated(takes=long_motions(50)))
    parser = Loads()
    parser.feed(html)
    assert parser.found == ["data:,"]
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1])
    assert "default-src 'none'" in html
    assert 1e6 < len(html.encode()) < 5e6


def test_the_library_is_unchanged_and_keeps_its_licence():
    vendor = resources.files("hmu.report.page") / "vendor"
    html = page(**evaluated())
    for name in ("three.core.min.js", "three.module.min.js", "OrbitControls.js", "LICENSE"):
        assert (vendor / name).read_text(encoding="utf-8") in html
    assert "The MIT License" in html
    assert html.index("The MIT License") < html.index("data-module")


def test_equal_results_give_equal_pages():
    assert page(**evaluated()) == page(**evaluated())


def test_the_scoreboard_answers_three_questions():
    shown = text(page(**evaluated(scoreboard={"forget": 0.93, "keep": 0.97, "hold": None, "weakest": "typo"})))
    assert "Asked for ‘kick’, the base model shows it in 90 % of motions, the unlearned model in 5 %." in shown
    assert "Other actions keep 90 % of the base’s rate; similar actions keep 100 % of the base’s rate" in shown
    assert re.search(r"Forget Is it gone\? 0\.93 90 % → 5 % of motions show ‘kick’", shown)
    assert re.search(r"Keep Is the rest as before\? 0\.97 70 % → 63 % of other motions", shown)
    assert re.search(r"Hold Does it stay gone\? 80 % → 30 % of motions still show it for paraphrased prompts", shown)
    assert "FID, retain 1.5 1.62" in shown


def test_the_weakest_set_decides_whether_it_holds():
    found = rows() + rates("typo", 0.9, 0.7, "kick")
    shown = text(page(**evaluated(rows=found)))
    assert "90 % → 70 % of motions still show it for misspelled prompts, the worst set paraphrased" in shown


def test_numbers_stand_in_tables_and_recovery_appears_where_it_was_measured():
    shown = text(page(**evaluated()))
    assert "recovery" not in shown
    assert "Forget: efficacy 20 prompts" in shown
    assert "Retain: preservation 20 prompts" in shown
    assert "FID → 1.5 1.4 – 1.6 1.62 1.52 – 1.73 +8 %" in shown
    recovery = {"recovery": 0.8, "recovery_low": 0.6, "recovery_high": 1.1}
    shown = text(page(**evaluated(rows=[replace(r, **recovery) if r.metric == "fid" else r for r in rows()])))
    assert "recovery" in shown
    assert "0.80 0.60 – 1.10" in shown


def test_a_reference_gets_its_column_and_a_place_in_the_plot():
    more = [replace(row, model="reference", value=row.value * 0.5) for row in rows() if row.model == "base"]
    html = page(**evaluated(rows=rows() + more))
    assert "Reference" in text(html)
    assert 'class="mark reference"' in html


def test_without_detectors_and_motions_the_page_still_tells_its_numbers():
    values = {"base": 0.1, "unlearned": 0.7}
    plain = [Row(m, s, "speed_gap", v, n=4) for m, v in values.items() for s in ("forget", "retain")]
    html = page(**evaluated(rows=plain, takes=(), stick=None))
    assert "<canvas" not in html
    assert "data-module" not in html
    assert "0.1 → 0.7 Speed gap on the forget prompts" in text(html)
    assert "Forgotten against kept" not in html


def test_a_model_that_was_taught_the_concept_is_asked_whether_it_is_there():
    assert "Is it gone?" in page(**evaluated())
    assert "Is it there?" in page(**evaluated(context={"edited": "specialised"}))


def test_a_model_that_was_taught_the_concept_is_called_specialised_everywhere():
    html = page(**evaluated(context={"edited": "specialised"}, confusion=FOUND))
    assert "Unlearned" not in html
    assert '"unlearned": {"name": "Specialised", "kind": "unlearned"}'.replace(": ", ":").replace(", ", ",") in html
    assert '<th scope="col" class="model unlearned">Specialised</th>' in html
    assert "Base&nbsp;↓ Specialised&nbsp;→" in html
    assert "Specialised" not in page(**evaluated(confusion=FOUND))


def test_a_sign_stands_where_base_and_reference_do_not_differ():
    more = [replace(row, model="reference") for row in rows() if row.model == "base"]
    html = page(**evaluated(rows=rows() + more))
    assert html.count('<td class="number">≈</td>') == 7  # all but the one without a number
    told = [replace(r, recovery=0.5) if r.metric == "fid" and r.model == "unlearned" else r for r in rows()]
    assert page(**evaluated(rows=told + more)).count('<td class="number">≈</td>') == 6
    assert "≈</td>" not in page(**evaluated(rows=told))  # no reference, nothing to be alike


def test_what_was_not_given_is_called_none():
    shown = text(
        page(**evaluated(context={"reference": None, "gallery": None, "r_precision_pool": None, "steps": None}))
    )
    for line in ("reference none", "gallery none", "r precision pool none", "steps the backbone’s own"):
        assert line in shown


def test_only_the_base_was_measured():
    html = page(**evaluated(rows=[row for row in rows() if row.model == "base"]))
    assert "90 % of motions show ‘kick’" in text(html)
    assert 'class="to"' not in html
    assert "Forgotten against kept" not in html


def test_a_prompt_cannot_leave_its_place():
    html = page(**evaluated(context={"title": EVIL, "note": EVIL}))
    assert "<script>throw" not in html
    assert len(takes()) == 3
