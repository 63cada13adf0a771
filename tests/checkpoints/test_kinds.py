from __future__ import annotations

import math
import re

import pytest

from hmu.checkpoints.kinds import CHAINS, FLAG, FOLDER, check_values, choice, line, real, whole
from hmu.errors import CheckpointError

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
