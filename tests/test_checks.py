"""Bounds of numbers, and the lines that say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pytest

from hmu import checks
from hmu.checks import check_variant, require, require_memory, require_pair, require_time
from hmu.durations import DAY
from hmu.errors import ConfigError
from hmu.values import Count, Place, Positive, Share, Weight


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, Count),
        (0.5, Annotated[float, "> 0, < 1"]),
        (None, Positive | None),
        (3, Annotated[float, "<= 3"]),
        (-2, float),
    ],
)
def test_values_within_bounds_pass(value, hint):
    require("key", value, hint)


@pytest.mark.parametrize(
    ("value", "hint", "line"),
    [
        (0, Count, "key=0: expected a whole number, at least 1"),
        (1.5, int, "key=1.5: expected a whole number"),
        (1, Share, "key=1: expected a number (not nan or inf), at least 0 and below 1"),
        (4, Annotated[float, "<= 3"], "key=4: expected a number (not nan or inf), at most 3"),
        (None, Positive, "key=null: expected a number (not nan or inf), above 0"),
        (0, Count | None, "key=0: expected a whole number, at least 1 or null"),
        (True, Weight, "key=True: expected a number (not nan or inf), at least 0"),
        ("1", Weight, "key=1: expected a number (not nan or inf), at least 0"),
        (float("nan"), float, "key=nan: expected a number (not nan or inf)"),
        (float("inf"), Positive, "key=inf: expected a number (not nan or inf), above 0"),
        ("", Place, "key=: expected the name of a file or folder"),
        ([1, 0], Sequence[Count], "key.1=0: expected a whole number, at least 1"),
        ({"a": "b"}, Mapping[str, int], "key.a=b: expected a whole number"),
    ],
)
def test_others_are_said_with_key_value_and_bounds(value, hint, line):
    with pytest.raises(ConfigError) as caught:
        require("key", value, hint)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "values", [[0.9], [0.9, 0.9, 0.9], [0.9, 1.0], [-0.1, 0.9], 0.9, "ab", None, [0.9, "x"], [True, 0]]
)
def test_betas_are_two_numbers_in_range(values):
    with pytest.raises(ConfigError, match=r"method.betas=.*: expected two numbers"):
        require_pair("method.betas", values)
    assert require_pair("method.betas", (0, 0.5)) == (0.0, 0.5)


def test_estimates_of_time_and_memory(monkeypatch):
    require_time("steps", 10, 10, 0.001, "steps")
    with pytest.raises(ConfigError, match=r"^steps=1e12: 1e\+12 steps take about 32 years even at 1 ms each"):
        require_time("steps", "1e12", 1e12, 0.001, "steps")
    with pytest.raises(ConfigError, match="about 2 days"):
        require_time("rounds", 2, 2, DAY, "rounds", limit=DAY)
    monkeypatch.setattr(checks, "memory", lambda: 2e9)
    require_memory("draws", 1, 1e9, "the draws")
    with pytest.raises(ConfigError, match=r"draws=9: the draws would need 3 GB of memory, this machine has 2 GB"):
        require_memory("draws", 9, 3e9, "the draws")


@pytest.mark.parametrize(
    ("value", "expected"), [("default", "default"), ("paper", "default"), ("ours", "default"), ("upstream", "upstream")]
)
def test_older_spellings_of_the_default_variant_stay(value, expected):
    assert check_variant("method.variant", value) == expected


@pytest.mark.parametrize("value", ["published", "", None, True, ["upstream"]])
def test_other_variants_are_refused(value):
    with pytest.raises(ConfigError, match=r"method.variant=.*: expected default or upstream"):
        check_variant("method.variant", value)
