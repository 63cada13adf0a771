"""Published figures and our runs side by side."""

from __future__ import annotations

import pytest
import yaml

from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.evaluation.results import Results, Row
from hmu.report.comparison import build_report
from hmu.report.comparison_files import latex, markdown
from hmu.report.published import Published, published_tables
from tests.report.some_runs import write_run

HUMAN = {"dataset": "humanml3d", "backbone": "momask", "concept": "violence"}


def table(name: str = "humanml3d_violence") -> Published:
    return Published.parse(yaml.safe_load((CONFIGS / "published" / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "lcr", method="lcr", **HUMAN)
    rows = [Row("base", "forget", "fid", 1.2), Row("reference", "forget", "fid", 16.0)]
    rows += [Row("unlearned", "forget", "fid", 9.3, recovery=0.547), Row("unlearned", "retain", "fid", 0.06)]
    Results({"concept": "violence", "dataset": "humanml3d"}, rows).save(tmp_path / "lcr" / "metrics.json")
    write_run(tmp_path / "other", method="uce", dataset="motion_x", backbone="momask", concept="violence")
    return tmp_path


def test_rows_meet_their_method_and_base_and_reference_the_models(runs):
    report = build_report([runs], published=table())
    forget, _ = published_tables(table(), report.lines)
    rows = [[cell.plain for cell in line.cells] for line in forget.lines]
    found = {row[0]: row[1:4] for row in rows}
    assert found["LCR"] == ["lcr", "15.66 (0.95)", "9.30 (0.55)"]
    assert found["MoMask (Original)"] == ["lcr", "1.16", "1.20"]
    assert found["MoMask D_r"] == ["lcr", "16.36", "16.00"]
    assert found["UCE"] == ["–", "11.86 (0.70)", "–"]  # the run on another data set is not beside it


def test_figures_are_shown_in_all_formats(runs):
    report = build_report([runs], published=table())
    assert "| LCR | lcr | 15.66 (0.95) | 9.30 (0.55) |" in markdown(report)
    assert "15.66 (0.95) & 9.30 (0.55)" in latex(report)


def test_without_a_run_of_that_table_it_is_said(tmp_path):
    write_run(tmp_path / "demo")
    text = markdown(build_report([tmp_path], published=table()))
    assert "None of these runs is of humanml3d · momask · violence." in text


def test_recovery_of_the_published_rows_is_the_documents():
    found = {row.method: table().recovery(row, "forget", "fid") for row in table().rows}
    rounded = {method: None if value is None else round(value, 2) for method, value in found.items()}
    assert rounded == {"reference": None, "base": None, "finetune": 0.07, "uce": 0.7, "rece": 0.38, "lcr": 0.95}
    other = table("motion_x_violence")
    assert [round(other.recovery(r, "forget", "r_precision_1") or 0, 2) for r in other.rows] == [0, 0, 0.67, 0.03]


def test_a_table_that_lacks_a_field_is_refused():
    with pytest.raises(ConfigError, match="rows"):
        Published.parse({"title": "x"})
