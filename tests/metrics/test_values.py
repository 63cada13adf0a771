"""Metrics declare what they yield; rows, also those of version 0.1, know it."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
import torch

from hmu.errors import ConfigError, DataError
from hmu.evaluation.counting import Resampling, Tally
from hmu.evaluation.results import Results, Row
from hmu.evaluation.scoreboard import harms, recoveries
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.declared import declared, value_named
from hmu.metrics.values import Value, resolve
from tests.conftest import REPOSITORY
from tests.metrics.test_metrics import METRICS, samples

FAMILY = (Value("hits_1", "Hits, first", "higher", scores=("keep",)), Value("hits_*", "Hits @{}", kind="share"))


@pytest.mark.parametrize(
    ("name", "label", "title", "kind"),
    [
        ("hits_1", None, "Hits, first", "number"),
        ("hits_05", None, "Hits @5", "share"),
        ("hits_05", "a_kick", "Hits @5, a kick", "share"),
        ("hits_5/walk", None, "Hits @5, walk", "share"),
        ("hits_5@tmr", None, "Hits @5 (tmr)", "share"),
        ("hits_5/walk@tmr", None, "Hits @5, walk (tmr)", "share"),
    ],
)
def test_a_family_covers_its_names(name, label, title, kind):
    value = resolve(FAMILY, name, label)
    assert (value.name, value.title, value.kind) == (name, title, kind)


def test_a_further_evaluator_counts_nowhere():
    assert resolve(FAMILY, "hits_1").scores == ("keep",)
    assert resolve(FAMILY, "hits_1@tmr").scores == ()
    assert resolve(FAMILY, "misses") is None


@pytest.mark.parametrize("field", ["better", "forget", "kind", "scores"])
def test_words_that_nobody_knows_are_refused(field):
    with pytest.raises(ConfigError, match=f"value 'x': {field} is 'towards'"):
        Value("x", **{field: ("towards",) if field == "scores" else "towards"})


@pytest.mark.parametrize("name", METRICS)
def test_metrics_declare_all_they_yield(name):
    metric = METRICS[name]()
    metric.update(samples())
    for key in metric.compute():
        assert metric.value(key).name == key
        assert metric.value(key) == value_named(key)


class Undeclared(MotionMetric):
    inputs = ("generated",)
    values = (Value("declared"),)

    def compute(self):
        return {"other": 1.0}


def test_a_number_that_no_declaration_covers_is_refused():
    one = EvalSamples(generated=torch.ones(3, 2))
    with pytest.raises(ConfigError, match="Undeclared gives 'other', but its values declare declared"):
        list(Tally("m", "s", Resampling(3, 0)).metrics({"x": Undeclared()}, [one]))


def test_names_of_this_package_are_declared_once():
    names = [value.name for value in declared()]
    assert len(names) == len(set(names))
    assert value_named("energy_ratio").kind == "ratio"
    assert value_named("speed", "stiff_knee").title == "Speed, stiff knee"


# -- files of version 0.1 ---------------------------------------------------------------------------------------------
#: rows as version 0.1 wrote them (schema 1, without kind, title, scores, headline): name, label, and what they are
OLD = [
    ("fid", None, "lower", "size", "FID", ("forget", "keep")),
    ("r_precision_1", None, "higher", "share", "R-precision @1", ("forget", "keep")),
    ("r_precision_all_3", None, "higher", "share", "R-precision among all @3", ()),
    ("kernel_distance", None, "lower", "unbiased", "Kernel distance", ()),
    ("ncs@5", None, "lower", "share", "NCS @5", ("forget",)),
    ("min_ncs@1", None, "lower", "share", "NCS, best repeat @1", ()),
    ("median_rank", None, "reference", "size", "Median rank", ()),
    ("detector_rate", "kick", "lower", "share", "‘kick’ detected", ("forget",)),
    ("detector_rate", None, "higher", "share", "Asked-for action detected", ("keep",)),
    ("energy_ratio", None, "same", "ratio", "Energy ratio", ()),
    ("retrieval_all/t2m/R01", None, "higher", "size", "Text to motion R@1, all", ()),
    ("fid@tmr", None, "lower", "size", "FID (tmr)", ()),
    ("speed", "run", "same", "number", "Speed, run", ()),
    ("somebody_elses", None, "reference", "number", "Somebody elses", ()),
]


@pytest.fixture
def old(tmp_path):
    """``metrics.json`` with exactly the keys of version 0.1."""
    rows = [
        {
            "model": model, "set": set_, "metric": metric, "value": value, "low": None, "high": None, "n": 10,
            "repeats": 2, "label": label, "direction": direction, "values": [value, value], "boot_low": None,
            "boot_high": None, "recovery": 0.5 if model == "unlearned" else None, "recovery_low": None,
            "recovery_high": None, "drift": None, "interval": "",
        }
        for set_ in ("forget", "retain")
        for model, value in (("base", 0.5), ("unlearned", 0.25))
        for metric, label, direction, *_ in OLD
    ]  # fmt: skip
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"schema": 1, "context": {"concept": "kick"}, "scoreboard": {}, "rows": rows}))
    return path


def test_rows_of_version_0_1_are_what_the_metrics_declare(old):
    rows = Results.load(old).rows
    for metric, label, direction, kind, title, scores in OLD:
        row = next(row for row in rows if (row.metric, row.label) == (metric, label))
        assert (row.direction, row.kind, row.title, row.scores) == (direction, kind, title, scores)


def test_the_scoreboard_of_version_0_1_can_be_told_again(old):
    results = Results.load(old)
    assert set(recoveries(results, "forget")) == {"fid", "r_precision_1", "ncs@5", "detector_rate"}
    assert harms(results) == {"fid": 0.0, "r_precision_1": 0.5, "detector_rate": 0.5}


def test_what_is_written_is_read_again(old, tmp_path):
    again = tmp_path / "again.json"
    Results.load(old).save(again)
    assert json.loads(again.read_text())["rows"][0]["kind"] == "size"
    assert Results.load(again).rows == Results.load(old).rows


@pytest.mark.parametrize(("key", "value"), [("kind", "weight"), ("direction", "up"), ("scores", [1]), ("title", 3)])
def test_a_row_that_says_what_nobody_knows_is_refused(old, key, value):
    data = json.loads(old.read_text())
    data["rows"][0] |= {"kind": "size", key: value}
    old.write_text(json.dumps(data))
    with pytest.raises(DataError, match=f"row 0 has {key}"):
        Results.load(old)


@pytest.mark.parametrize("name", ["x" + "/y@x" * 40, "x" + "@y" * 5000])
def test_a_name_that_somebody_else_has_made_up_costs_no_time(old, name):
    data = json.loads(old.read_text())
    data["rows"][0]["metric"] = name
    old.write_text(json.dumps(data))
    start = time.perf_counter()
    with contextlib.suppress(DataError):
        Results.load(old)
    assert time.perf_counter() - start < 5  # the machine may be busy


def test_a_row_declares_itself_where_its_metric_is_not_here():
    row = Row("base", "retain", "novel", 0.5, kind="share", title="Novel", scores=("keep",))
    assert (row.is_share, row.title, row.scores) == (True, "Novel", ("keep",))
    assert Row("base", "retain", "novel", 0.5).kind == "number"


def test_no_table_of_names_is_left():
    """Outside of ``hmu/metrics`` nobody decides by the beginning or the end of a metric's name."""
    tests = ('metric.startswith("', 'name.startswith("r_', 'endswith("/MedR', "is_size(")
    for path in (REPOSITORY / "hmu" / "evaluation").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [test for test in tests if test in text], path
