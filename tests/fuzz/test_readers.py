"""Damaged files through every reader: each is read, or refused in one line, soon and without much memory."""

from __future__ import annotations

import pytest

from tests.fuzz.files import READERS
from tests.fuzz.models import MODELS
from tests.fuzz.run import ALL, fuzz

MEMORY = 400  # MB that damaged files may make the process hold more than the good one
#: of each kind in a usual run; whole models are slower
FEW, FEWER = 60, 15
#: 10,000 in all
MANY, SOME = 400, 220


def check(name: str, count: int, seed: int) -> None:
    found = fuzz(name, count, seed)
    told = "\n".join(f"{fault}: {content[:200]!r}" for fault, content in found.faults[:10])
    assert not found.faults, f"{len(found.faults)} of {count} damaged files of '{name}':\n{told}"
    assert found.grown < MEMORY
    assert found.outcomes["refused"] > count / 10, "the damage hardly damages"


@pytest.mark.parametrize("name", ALL)
def test_damaged_files_are_read_or_refused_in_one_line(name: str) -> None:
    check(name, FEW if name in READERS else FEWER, seed=12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_ten_thousand_damaged_files(name: str) -> None:
    check(name, MANY if name in READERS else SOME, seed=13)


def test_the_slow_run_has_ten_thousand_files() -> None:
    assert len(READERS) * MANY + len(MODELS) * SOME >= 10_000
