"""Names and changes as the page writes them."""

from __future__ import annotations

import pytest

from hmu.evaluation.results import Row, relative_change
from hmu.metrics.declared import value_named


@pytest.mark.parametrize(
    ("metric", "name"),
    [("ncs@5", "NCS @5"), ("min_ncs@1", "NCS, best repeat @1"), ("r_precision_3", "R-precision @3"), ("fid", "FID")],
)
def test_metrics_have_the_names_of_the_field(metric, name):
    assert value_named(metric).title == name


@pytest.mark.parametrize(
    ("metric", "before", "after", "change"),
    [("fid", 2.0, 3.0, 0.5), ("detector_rate", 0.0, 0.0, 0.0), ("detector_rate", 0.0, 0.5, None),
     ("kernel_distance", -0.01, 0.9, None)],
)  # fmt: skip
def test_a_change_is_told_where_it_means_something(metric, before, after, change):
    rows = (Row(model, "retain", metric, value) for model, value in (("base", before), ("unlearned", after)))
    assert relative_change(*rows) == change
