"""Tables of gait by style."""

from __future__ import annotations

from hmu.report.gait import gait_markdown
from tests.evaluation.test_gait import windows


def test_tables_stand_side_by_side_with_counts():
    table = "\n".join(gait_markdown({"real": windows("walk"), "base": windows("run")}))
    assert "### walk (real 4, base 0)" in table
    assert "| statistic | real | base |" in table
    speeds = [line for line in table.splitlines() if line.startswith("| speed |")]
    assert speeds[0].endswith("| – |")
    assert " ± " in speeds[0]
