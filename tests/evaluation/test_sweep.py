from __future__ import annotations

import csv
import json

from hmu.evaluation.results import Results, summarise
from hmu.workflows.sweep import write_table


def test_one_row_per_run_interrupted_ones_included(tmp_path):
    for name, status in (("rank=4", "complete"), ("rank=8", "running")):
        run = tmp_path / name
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra" / "overrides.yaml").write_text(f"- method.{name}\n")
        (run / "run.json").write_text(json.dumps({"status": status, "timings": {"unlearn": 2.0}}))
    rows = [
        summarise(m, "forget", "detector_rate", [v], 10, label="kick", share=True)
        for m, v in (("base", 0.9), ("unlearned", 0.1))
    ]
    Results({"concept": "kick"}, rows).save(tmp_path / "rank=4" / "metrics.json")
    write_table(tmp_path)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["method.rank"] for row in found] == ["4", "8"]
    assert found[0]["forget detector_rate"] == "0.1 (base 0.9)"
    assert found[1]["status"] == "running"
    assert "rank=8" in (tmp_path / "sweep.md").read_text()


def test_empty_folder_gives_no_table(tmp_path):
    assert write_table(tmp_path) == []
    assert not list(tmp_path.iterdir())
