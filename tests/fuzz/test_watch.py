"""The watch itself: what it takes for a fault."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hmu.errors import DataError
from tests.fuzz import mutate, watch
from tests.fuzz.run import ALL, fuzz

PATH = Path("/folder/inside/file.txt")


def outcome(read) -> watch.Outcome:
    return watch.attempt(read, PATH)


def raising(error: BaseException):
    def read() -> None:
        raise error

    return read


def test_results_and_short_messages_are_good() -> None:
    assert outcome(lambda: 1).told == "read"
    assert outcome(raising(DataError(f"{PATH}: is broken"))).told == "refused"
    assert outcome(raising(DataError(f"{PATH}: {'x' * 295}"))).good  # the path is not counted


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("x" * 301), "301 characters"),
        (DataError("two\nlines"), "2 lines"),
        (ValueError("no"), "ValueError"),
        (MemoryError(), "MemoryError"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_long_messages_and_other_errors_are_faults(error: Exception, words: str) -> None:
    found = outcome(raising(error))
    assert not found.good
    assert words in found.told


def test_a_reading_without_end_is_stopped(monkeypatch) -> None:
    monkeypatch.setattr(watch, "SECONDS", 0.1)

    def endless() -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:  # a reader that catches too much does not catch the alarm
                continue

    assert "no end within" in outcome(endless).told


@pytest.mark.parametrize("damage", [mutate.text, mutate.binary, mutate.document])
def test_equal_seeds_do_equal_damage(damage) -> None:
    good = b'{"a": [1, 2.5], "b": {"c": "words and words"}}\n'
    made = [[damage(good, random.Random(n)) for n in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert sum(content != good for content in made[0]) > 40


def test_a_fault_is_kept_with_its_file(monkeypatch) -> None:
    def bad(folder: Path):
        from tests.fuzz.files import Sample, written

        path = written(folder / "x", "1")
        return Sample(path, lambda: int(path.read_bytes()))

    monkeypatch.setitem(ALL, "bad", bad)
    found = fuzz("bad", 20)
    assert found.faults
    assert found.faults[0][0].startswith("ValueError")
    assert isinstance(found.faults[0][1], bytes)
