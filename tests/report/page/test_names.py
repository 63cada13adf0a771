"""Names and changes as the page writes them."""

from __future__ import annotations

import pytest

from hmu.metrics.intervals import relative_change
from hmu.report.page.numbers import metric_name


@pytest.mark.parametrize(
    ("metric", "name"),
    [("ncs@5", "NCS @5"), ("min_ncs@1", "NCS, best repeat @1"), ("r_precision_3", "R-precision @3"), ("fid", "FID")],
)
def test_metrics_have_the_names_of_the_field(metric, name):
    assert metric_name(metric) == name


def test_a_change_is_told_where_it_means_something():
    assert relative_change("fid", 2.0, 3.0) == 0.5
    assert relative_change("detector_rate", 0.0, 0.0) == 0.0
    assert relative_change("detector_rate", 0.0, 0.5) is None
    assert relative_change("kernel_distance", -0.01, 0.9) is None
