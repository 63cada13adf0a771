from __future__ import annotations

import csv
from types import SimpleNamespace

from hmu.report.sweep import SweepTable
from tests.report.some_runs import write_run


def end(folder) -> None:
    SweepTable().on_multirun_end(SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(dir=str(folder)))))


def test_one_row_per_run_interrupted_ones_included(tmp_path):
    write_run(tmp_path / "rank=4", "method.rank=4", rates=(0.1, 0.8), base=(0.9, 0.8))
    write_run(tmp_path / "rank=8", "method.rank=8", rates=None, status="running")
    end(tmp_path)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["method.rank"] for row in found] == ["4", "8"]
    assert (found[0]["forget detector_rate"], found[0]["base forget detector_rate"]) == ("0.1", "0.9")
    assert found[1]["status"] == "running"
    assert "rank=8" in (tmp_path / "sweep.md").read_text()
    assert "rank=8" in (tmp_path / "sweep.html").read_text()


def test_empty_folder_gives_no_table(tmp_path):
    end(tmp_path)
    end(tmp_path / "absent")
    assert not list(tmp_path.iterdir())
