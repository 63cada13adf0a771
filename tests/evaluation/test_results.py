from __future__ import annotations

import json
import math

import pytest

from hmu.errors import DataError
from hmu.evaluation.results import Results, Row, summarise
from hmu.metrics.intervals import wilson_interval


def test_a_share_has_a_wilson_interval_and_a_distance_a_t_interval():
    share = summarise("base", "forget", "detector_rate", [1.0, 1.0], 10, label="kick", share=True)
    assert share.low < 1.0
    assert share.high == 1.0
    distance = summarise("base", "forget", "fid", [1.0, 2.0, 3.0], 10)
    assert distance.low == pytest.approx(max(0, 2 - 4.303 / math.sqrt(3)), abs=1e-3)
    assert (share.interval, distance.interval) == ("wilson", "repeats")


def test_ten_repeats_of_a_prompt_are_not_ten_answers():
    one, ten = (summarise("base", "forget", "detector_rate", [0.5] * n, 10, share=True) for n in (1, 10))
    assert (one.low, one.high) == (ten.low, ten.high) == pytest.approx(wilson_interval(5, 10))


def test_one_repeat_has_no_interval():
    row = summarise("base", "forget", "fid", [4.0], 10)
    assert (row.value, row.low, row.high) == (4.0, None, None)


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
    with pytest.raises(DataError, match=r"metrics\.json"):
        Results.load(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"context": None}, "context and scoreboard must be mappings"),
        ({"scoreboard": [1]}, "context and scoreboard must be mappings"),
        ({"rows": [{"value": "0.5"}]}, "row 0 has value '0.5'"),
        ({"rows": [{"set": None}]}, "row 0 has set None"),
        ({"rows": [{"low": "x"}]}, "row 0 has low 'x'"),
        ({"rows": [{"values": ["x"]}]}, "row 0 has values"),
        ({"rows": [{"n": None}]}, "row 0 has n None"),
        ({"rows": [{"typo": 1}]}, "typo"),
        ({"rows": ["x"]}, "row 0 is no mapping"),
    ],
)
def test_values_of_another_type_are_refused(tmp_path, change, expected):
    path = tmp_path / "metrics.json"
    Results({}, [Row("base", "forget", "fid", 1.0)]).save(path)
    content = json.loads(path.read_text())
    whole = content["rows"][0]
    for key, value in change.items():
        content[key] = value
    content["rows"] = [{**whole, **row} if isinstance(row, dict) else row for row in content["rows"]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=expected):
        Results.load(path)


def test_the_interval_of_a_share_stays_between_0_and_1():
    wide = summarise("base", "forget", "r_precision_1", [0.02, 0.4], 20)
    assert (wide.low, wide.high) == (0.0, 1.0)
    free = summarise("base", "forget", "mm_dist", [0.02, 0.4], 20)
    assert free.low == 0 < 1 < free.high
    assert summarise("base", "forget", "kernel_distance", [0.02, 0.4], 20).low < 0
    assert summarise("base", "forget", "ncs@5", [0.5], 20).low is None
