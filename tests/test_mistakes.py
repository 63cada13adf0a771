"""Every mistake of ``mistakes.csv`` is told in one good line, before the work, and leaves nothing behind.

Columns: ``command`` as typed after ``python`` (``{tmp}`` is a folder with the files of :func:`tests.mistaken.things`,
``{repo}`` the clone), ``expected``, a distinctive part of the line, and ``phase``: what has to be looked at before it
can be told (``start``: the configuration alone; ``data``; ``model``; ``work``: the first steps of it), and ``slow`` for
those that show no new kind: they run with ``-m slow``. All run in two processes, each many commands. What the longest
took:  ``pytest tests/test_mistakes.py -s``
"""

from __future__ import annotations

import csv
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.answering import Answer, answer, contents, prepare
from tests.conftest import REPOSITORY
from tests.mistaken import things

PHASES = {"start": 10.0, "data": 30.0, "model": 30.0, "work": 60.0}  # seconds, far above what it takes
LONGEST = 300  # characters of a line, without the name of the folder and what {tmp} and {repo} stand for


@dataclass(frozen=True)
class Mistake:
    command: str
    expected: str
    phase: str
    slow: str

    def typed(self, tmp: Path) -> str:
        return self.command.replace("{tmp}", str(tmp)).replace("{repo}", str(REPOSITORY))


def rows() -> list[Mistake]:
    with (REPOSITORY / "tests" / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        return [Mistake(**row) for row in csv.DictReader(file)]


def wrong(mistake: Mistake, got: Answer, tmp: Path) -> str | None:
    """What is not as it should be, None if nothing is."""
    if got.trace:
        return f"a stack trace: {got.trace.strip().splitlines()[-1][:300]}"
    if got.code in (0, None):
        return "accepted"
    if len(got.lines) != 1:
        return f"{len(got.lines)} lines: {got.lines}"
    line = got.lines[0].replace(str(tmp), "").replace(str(REPOSITORY), "")
    if got.code != 2:
        return f"exit code {got.code}: {line}"
    if mistake.expected.lower() not in line.lower():
        return f"said: {line}"
    if len(line) > LONGEST:
        return f"a line of {len(line)} characters: {line}"
    return f"took {got.seconds:.0f} s" if got.seconds > PHASES[mistake.phase] else None


def slowest(listed: list[Mistake], got: list[Answer]) -> str:
    """How long it took until the lines came, and the longest ten."""
    seconds = sorted(one.seconds for one in got)
    pairs = sorted(zip(got, listed, strict=True), key=lambda pair: -pair[0].seconds)[:10]
    head = f"{len(got)} lines in {sum(seconds):.0f} s of two processes, half of them below {seconds[len(got) // 2]:.2f}"
    return "\n".join([head, *(f"{one.seconds:7.2f} s  {mistake.command}" for one, mistake in pairs)])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder to work in, and one with files of the user's."""
    home = tmp_path_factory.mktemp("mistakes")
    (home / "here").mkdir()
    (home / "mine").mkdir()
    things(home / "mine")
    return home / "here", home / "mine"


@pytest.mark.parametrize("slow", ["", pytest.param("slow", marks=pytest.mark.slow)])
def test_every_mistake_is_one_line(places, slow):
    here, mine = places
    chosen, before = [mistake for mistake in rows() if mistake.slow == slow], contents(mine)
    early, late = ([m for m in chosen if (m.phase == "work") is begun] for begun in (False, True))
    listed = early + late
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=prepare, initargs=(str(here),)) as pool:
        pool.submit(answer, "unlearn.py concept.keywords=[zzzqqq]").result()  # makes the demo set, once for all
        got = list(pool.map(answer, [mistake.typed(mine) for mistake in early]))
        left = [path for path in here.rglob("*") if path.is_file() and path.relative_to(here).parts[0] != ".cache"]
        got += pool.map(answer, [mistake.typed(mine) for mistake in late])  # runs that had begun keep their folders
    sys.stdout.write(f"\n{slowest(listed, got)}\n")
    pairs = zip(listed, got, strict=True)
    bad = [f"{mistake.command}\n    {problem}" for mistake, one in pairs if (problem := wrong(mistake, one, mine))]
    assert not bad, f"{len(bad)} of {len(listed)}:\n" + "\n".join(bad)
    after = contents(mine)
    assert {name for name in before | after if before.get(name) != after.get(name)} == set(), "the user's files"
    assert not left, "a refused command left something"


def test_rows_are_whole():
    listed = rows()
    assert len({mistake.command for mistake in listed}) == len(listed)
    assert sum(not mistake.slow for mistake in listed) >= 350
    for mistake in listed:
        assert mistake.phase in PHASES, mistake
        assert mistake.slow in ("", "slow"), mistake
        assert len(mistake.expected) >= 3, mistake
