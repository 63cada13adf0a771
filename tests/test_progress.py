"""Phases, the plan, and the time left."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from hmu import progress
from hmu.bar import Bar
from hmu.durations import Seconds
from hmu.phases import Part
from hmu.progress import batches, job, phase, plan


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        seconds = 100.0

    monkeypatch.setattr("hmu.phases.time.perf_counter", lambda: Clock.seconds)
    return Clock


@pytest.fixture(autouse=True)
def said(caplog):
    caplog.set_level(logging.INFO, "hmu.progress")
    return caplog


def test_without_a_job_phases_are_silent(said):
    with phase("packing", 3, "clips") as done:
        done.advance(3)
    plan([Part("packing")], "words")
    assert done.done == 3
    assert not said.records


def test_a_phase_that_took_a_while_is_one_line(now, said):
    with job(Seconds(None)):
        with phase("packing", 3000, "clips") as done:
            done.advance(3000)
            now.seconds += 17
        with phase("quick"):
            now.seconds += 2.9
        with phase("report"):
            now.seconds += 3
        with phase("generating", 1, "motions") as done:
            done.advance()
            now.seconds += 5
    assert said.messages == ["packing: 3000 clips, 17 s", "report: 3.0 s", "generating: 1 motion, 5.0 s"]


def test_inner_phases_are_shown_and_not_told(now, said):
    with job(Seconds(None)) as own, phase("training", 10, "steps") as steps:
        steps.advance(5)
        with phase("encoding texts", 4, "texts") as texts:
            texts.advance()
            now.seconds += 60
            assert own.line()[:3] == ("encoding texts", 1, 4)
        assert own.line()[:3] == ("training", 5, 10)
    assert said.messages == ["training: 5 steps, 1 min 0 s"]


def test_a_phase_that_broke_off_is_neither_told_nor_remembered(now, said):
    memory = Seconds(None)

    def breaks_off():
        with job(memory), phase("training", 10, "steps") as done:
            plan([Part("training", 10, "steps")], "10 steps")
            done.advance(5)
            now.seconds += 60
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        breaks_off()
    assert said.messages == ["plan: 10 steps: time is known after the first batch"]
    assert not memory.known


PARTS = [Part("training", 100, "steps", "toy"), Part("generating", 200, "motions", "toy"), Part("report")]


def test_the_second_job_knows_how_long_it_takes_the_first_does_not(now, said):
    memory = Seconds(None)
    for _ in range(2):
        with job(memory):
            plan(PARTS, "100 steps, 200 motions")
            for part in PARTS[:2]:
                with phase(part.phase, part.amount, part.unit) as done:
                    now.seconds += part.amount / 2
                    done.advance(part.amount)
            with phase("report"):
                now.seconds += 10
    plans = [line for line in said.messages if line.startswith("plan")]
    assert plans == [
        "plan: 100 steps, 200 motions: time is known after the first batch",
        "plan: 100 steps, 200 motions: about 3 minutes",
    ]
    assert memory.known == {"training: toy": 0.5, "generating: toy": 0.5, "report": 10.0}


def test_one_phase_of_unknown_length_is_named(said):
    memory = Seconds(None)
    memory.put("generating: toy", 1.0)
    memory.put("report", 10.0)
    with job(memory):
        plan(PARTS, "words")
    assert said.messages == ["plan: words: about 4 minutes and training, whose time is not known yet"]


def test_time_left_counts_what_is_done_and_what_is_to_come(now):
    memory = Seconds(None)
    for part in PARTS:
        memory.put(part.key, 1.0)
    with job(memory) as own:
        assert own.left() is None  # nothing is planned yet
        plan(PARTS, "words")
        assert own.left() == (301, [])
        with phase("demo data"):  # not planned: it delays, the rest stays
            now.seconds += 20
            assert own.left() == (301, [])
        with phase("training", 100, "steps") as done:
            now.seconds += 20
            done.advance(10)  # twice as slow as remembered: believed by a third
            assert own.left()[0] == pytest.approx(90 * (4 / 3) + 201)
            now.seconds += 60
            done.advance(30)
            assert own.left()[0] == pytest.approx(60 * 2 + 201)
            now.seconds += 4  # a step under way
            assert own.left()[0] == pytest.approx(60 * 2 - 4 + 201)
        with phase("report"):  # nothing was generated after all
            now.seconds += 0.25
            assert own.left()[0] == pytest.approx(0.75)


def test_a_first_look_at_a_later_part_tells_how_long_it_will_take(now):
    with job(Seconds(None)) as own:
        plan([Part("training", 100, "steps"), Part("generating", 200, "motions")], "words")
        with phase("asking the base"), phase("generating", 10, "motions") as done:
            now.seconds += 5
            done.advance(10)
        with phase("training", 100, "steps") as done:
            assert own.left() is None
            now.seconds += 1
            done.advance(1)
            assert own.left() == (99 + 100, [])


def test_what_is_not_known_yet_is_named_beside_what_is(now):
    with job(Seconds(None)) as own:
        plan(PARTS, "words")
        assert own.left() is None
        with phase("training", 100, "steps") as done:
            assert own.left() is None
            now.seconds += 2
            done.advance(2)
            assert own.left() == (98, ["generating", "report"])
            assert own.line()[3] == "2/100 steps · 1:38 left · job done in 1:38 + generating + report"


def test_what_was_there_already_tells_nothing_about_speed(now):
    memory = Seconds(None)
    with job(memory) as own:
        plan([Part("generating", 100, "motions")], "words")
        with phase("generating", 200, "motions") as done:
            done.skip(100)
            assert own.left() is None
            now.seconds += 50
            done.advance(50)
            assert own.left() == (50, [])
            now.seconds += 50
            done.advance(50)
        with phase("generating", 5, "motions") as done:
            done.skip(5)
    assert memory.known == {"generating": 1.0}


def test_jobs_of_a_sweep_know_their_place_and_the_end_of_all(now):
    memory = Seconds(None)
    memory.put("training", 1.0)
    progress.sweep(9)
    with job(memory, 0) as own:
        now.seconds += 5
        plan([Part("training", 100, "steps")], "100 steps")
        assert own.line()[0] == "job 1 of 9: working"
        assert "all jobs done in about 16 minutes" in own.line()[3]  # 100 + 8 × 105 s
        now.seconds += 55
    with job(memory, 1) as own:  # the first took a minute
        name, _, _, words = own.line()
        assert name == "job 2 of 9: loading"
        assert words.endswith("all jobs done in about 8 minutes")
    progress.sweep(0)
    with job(memory, 1) as own:
        assert own.line()[0] == "job 2: loading"


def test_many_items_are_a_phase_few_are_not(now):
    with job(Seconds(None)) as own:
        seen = []
        for part in batches(list(range(5)), 2, "encoding texts", "texts"):
            seen.append((list(part), own.line()[:3]))
        assert [part for part, _ in seen] == [[0, 1], [2, 3], [4]]
        assert seen[-1][1] == ("encoding texts", 4, 5)
        assert [own.line()[0] for _ in batches([1], 2, "encoding texts", "texts")] == ["loading"]
        assert list(batches([], 2, "encoding texts", "texts")) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "variables", "shown"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"HMU_PROGRESS": "0"}, False),
        (True, {"HMU_PROGRESS": "off"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_a_bar_needs_a_terminal(monkeypatch, terminal, variables, shown):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("HMU_PROGRESS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with job(Seconds(None)), phase("training", 4, "steps") as done:
        done.advance(2)
        assert progress.shown() is shown
    assert ("\r" in screen.getvalue()) is shown
    assert not progress.shown()


def test_the_bar_shows_what_the_line_says_and_leaves_nothing_behind(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    asked = []

    def line():
        asked.append(1)
        if len(asked) == 2:
            raise IndexError  # between two phases
        return "training {", 7, 20, "7/20 steps · {loss} 0:13 left"

    with Bar(line) as bar:
        bar._draw()
        bar._draw()
    assert len(asked) < 6  # not once per step
    assert "training { #######   " in screen.getvalue()  # of 20, without Unicode on this screen
    assert "7/20 steps · {loss} 0:13 left" in screen.getvalue()
    last = screen.getvalue().rstrip("\r").split("\r")[-1]
    assert not last.strip()
