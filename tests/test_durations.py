"""Seconds in words, and what is remembered of them."""

from __future__ import annotations

import json

import pytest

from hmu.durations import FILE, MOST, YEAR, Seconds, about, clock, exact


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (7.9, "a few seconds"),
        (38, "about 40 seconds"),
        (54, "about 55 seconds"),
        (58, "about 1 minute"),
        (171, "about 3 minutes"),
        (54 * 60, "about 54 minutes"),
        (59 * 60, "about 1 hour"),
        (2.4 * 3600, "about 2.5 hours"),
        (3.1 * 86400, "about 3 days"),
        (7.1 * YEAR, "about 7 years"),
        (1e20 * YEAR, "about 1e+20 years"),
    ],
)
def test_a_guess_in_words(seconds, words):
    assert about(seconds) == words


def test_measured_seconds():
    assert [exact(s) for s in (0.04, 9.94, 9.96, 59.6, 171.2, 3725)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 0 s", "2 min 51 s", "1 h 2 min",
    ]  # fmt: skip
    assert [clock(s) for s in (-1, 7, 760, 3723)] == ["0:00", "0:07", "12:40", "1:02:03"]


def test_what_was_measured_is_there_for_the_next_job(tmp_path):
    Seconds(tmp_path / "cache").put("generating: toy", 0.5)
    memory = Seconds(tmp_path / "cache")
    assert memory.get("generating: toy") == 0.5
    assert memory.get("generating: other") is None
    memory.put("generating: toy", 1.5)
    assert Seconds(tmp_path / "cache").get("generating: toy") == 1.0  # half of what was known stays


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": null, "b": "x", "c": -1, "d": true, "e": NaN, "good": 2}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path, content):
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    memory = Seconds(tmp_path)
    assert set(memory.known) <= {"good"}
    memory.put("new", 1.0)
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["new"] == 1.0


def test_a_place_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    memory = Seconds(tmp_path / "file" / "cache")
    memory.put("training", 2.0)
    assert memory.get("training") == 2.0
    for value in (0.0, float("nan"), float("inf"), -1.0):
        memory.put("bad", value)
    assert memory.get("bad") is None


def test_the_file_does_not_grow_for_ever(tmp_path):
    memory = Seconds(None)
    for number in range(MOST + 5):
        memory.put(str(number), 1.0)
    assert len(memory.known) == MOST
    assert "0" not in memory.known
