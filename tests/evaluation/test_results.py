from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import DataError
from hmu.evaluation.results import Results, Row, interval, summarise, wilson


def test_interval_matches_student_t():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert low == pytest.approx(2 - 4.303 / math.sqrt(3))
    assert high == pytest.approx(2 + 4.303 / math.sqrt(3))


def test_one_repeat_has_no_interval():
    assert interval([4.0]) == (4.0, None, None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_interval_holds_the_mean(values):
    mean, low, high = interval(values)
    assert low - 1e-6 <= mean <= high + 1e-6


@given(st.integers(1, 500), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_wilson_stays_inside_the_unit_interval_and_holds_the_rate(n, rate):
    low, high = wilson(rate, n)
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1


def test_wilson_does_not_vanish_at_the_ends():
    assert wilson(0.0, 20)[1] > 0.1
    assert wilson(1.0, 20)[0] < 0.9


def test_save_and_load_keep_rows(tmp_path):
    rows = [
        summarise("base", "forget", "detector_rate", [1.0, 0.5], 10, label="kick", share=True),
        Row("base", "retain", "fid", math.nan),
    ]
    Results({"seeds": [0, 1]}, rows).save(tmp_path / "metrics.json")
    back = Results.load(tmp_path / "metrics.json")
    assert back.rows[0] == rows[0]
    assert math.isnan(back.rows[1].value)
    assert back.get("base", "forget", "detector_rate", "kick").value == 0.75
    assert back.get("base", "forget", "fid") is None


def test_broken_file_is_named(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"schema": 1, "rows": 3}')
    with pytest.raises(DataError, match="metrics.json"):
        Results.load(path)
