"""Bounds of numbers, and the lines that say them."""

from __future__ import annotations

import pytest

from hmu.checks import DAY, YEAR, check_variant, duration, require, require_memory, require_pair, require_time
from hmu.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (1, {"at_least": 1, "whole": True}),
        (0.5, {"above": 0, "below": 1}),
        (None, {"above": 0, "null": True}),
        (3, {"at_most": 3}),
        (-2.5, {}),
    ],
)
def test_values_within_bounds_pass(value, bounds):
    require("key", value, **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "line"),
    [
        (0, {"at_least": 1, "whole": True}, "key=0: expected a whole number at least 1"),
        (1.5, {"whole": True}, "key=1.5: expected a whole number"),
        (1, {"above": 0, "below": 1}, "key=1: expected a number above 0 and below 1"),
        (4, {"at_most": 3}, "key=4: expected a number at most 3"),
        (None, {"above": 0}, "key=null: expected a number above 0"),
        (0, {"above": 0, "null": True}, "key=0: expected a number above 0, or null"),
        (True, {"at_least": 0}, "key=True: expected a number at least 0"),
        ("1", {"at_least": 0}, "key=1: expected a number at least 0"),
        (float("nan"), {}, "key=nan: expected a number"),
        (float("inf"), {"above": 0}, "key=inf: expected a number above 0"),
    ],
)
def test_others_are_said_with_key_value_and_bounds(value, bounds, line):
    with pytest.raises(ConfigError) as caught:
        require("key", value, **bounds)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "values", [[0.9], [0.9, 0.9, 0.9], [0.9, 1.0], [-0.1, 0.9], 0.9, "ab", None, [0.9, "x"], [True, 0]]
)
def test_betas_are_two_numbers_in_range(values):
    with pytest.raises(ConfigError, match=r"method.betas=.*: expected two numbers"):
        require_pair("method.betas", values)
    assert require_pair("method.betas", (0, 0.5)) == (0.0, 0.5)


def test_estimates_of_time_and_memory():
    require_time("steps", 10, 10, 0.001, "steps")
    with pytest.raises(ConfigError, match=r"^steps=1e12: 1e\+12 steps take about 32 years even at 1 ms each"):
        require_time("steps", "1e12", 1e12, 0.001, "steps")
    with pytest.raises(ConfigError, match="about 2 days"):
        require_time("rounds", 2, 2, DAY, "rounds", limit=DAY)
    require_memory("draws", 1, 1e9, "the draws", available=2e9)
    with pytest.raises(ConfigError, match=r"draws=9: the draws would need 3 GB of memory, this machine has 2 GB"):
        require_memory("draws", 9, 3e9, "the draws", available=2e9)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "1 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (DAY, "1 day"),
        (3 * YEAR, "3 years"),
        (1e20 * YEAR, "1e+20 years"),
    ],
)
def test_durations_in_words(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "expected"), [("default", "default"), ("paper", "default"), ("ours", "default"), ("upstream", "upstream")]
)
def test_older_spellings_of_the_default_variant_stay(value, expected):
    assert check_variant("method.variant", value) == expected


@pytest.mark.parametrize("value", ["published", "", None, True, ["upstream"]])
def test_other_variants_are_refused(value):
    with pytest.raises(ConfigError, match=r"method.variant=.*: expected default or upstream"):
        check_variant("method.variant", value)
