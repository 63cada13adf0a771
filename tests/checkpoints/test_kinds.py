from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pytest

from hmu.checkpoints.kinds import CHAINS, FLAG, FOLDER, check_fields, check_values, choice, line, real, whole
from hmu.errors import CheckpointError, ConfigError

GOOD = [
    (whole(1, 8), 8, 8),
    (whole(1, 8), 6.0, 6),
    (real(0, 1), 1, 1.0),
    (real(0, 1, inside=True), 0.5, 0.5),
    (choice(("a", "b")), "b", "b"),
    (FLAG, False, False),
    (line(), 12, "12"),
    (FOLDER, "rvq_nq6", "rvq_nq6"),
    (CHAINS, ((0, 2.0), [1]), [[0, 2], [1]]),
]
BAD = [
    (whole(1, 8), [0, 9, 10**400, 1.5, True, "6", None, math.nan, math.inf, [1], {}]),
    (real(0, 1), [-0.1, 1.1, math.nan, -math.inf, 10**400, True, "0.5", None, []]),
    (real(0, 1, inside=True), [0, 1]),
    (choice(("a", "b")), ["c", "", None, ["a"], 1]),
    (FLAG, [0, 1, "True", None]),
    (line(5), ["too long", "a\nb", "\x00", None, True, ["a"]]),
    (FOLDER, ["", "..", "../x", "/etc", "a\\b", "a\x00"]),
    (CHAINS, [None, [], [[]], [[-1]], [["a"]], "ab", [[0] * 101], [1, 2]]),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_what_fits_comes_back_in_its_type(kind, value, expected):
    found = kind.read(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("kind", "values"), BAD)
def test_what_does_not_fit_is_said_in_words(kind, values):
    for value in values:
        with pytest.raises(ValueError, match=re.escape(kind.words)):
            kind.read(value)


def test_values_are_checked_by_name_and_long_ones_are_cut():
    assert check_values({"a": 2.0, "b": "x"}, "file: ", {"a": whole(1, 3), "c": FLAG}) == {"a": 2}
    with pytest.raises(CheckpointError, match=r"^file: a=9{59}…: expected a whole number from 1 to 3$"):
        check_values({"a": "9" * 5000}, "file: ", {"a": whole(1, 3)}, CheckpointError)


def test_fields_of_a_dataclass():
    @dataclass(frozen=True)
    class Options:
        heads: int = 4
        dropout: float = 0.1

        def __post_init__(self):
            check_fields(self, "backbone.x", {"heads": whole(1, 8), "dropout": real(0, 1)})

    assert type(Options(heads=6.0).heads) is int  # type: ignore[arg-type]
    assert type(Options(dropout=0).dropout) is int  # what is written stays as it is
    with pytest.raises(ConfigError, match=r"backbone\.x\.heads=0: expected a whole number from 1 to 8"):
        Options(heads=0)
