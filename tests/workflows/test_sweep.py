"""A sweep: one folder per job, a mistake costs its own job alone, the table tells of all."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hmu.folders import run_folder
from tests.conftest import REPOSITORY
from tests.workflows.toy import QUIET, inputs, run
from unlearn import unlearn


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_mistake_costs_one_job(world, tmp_path, capsys):
    words = ["-m", "method=lora", "method.lr=-1,0.001", "method.steps=1", "method.batch_size=4", "evaluate=false"]
    with pytest.raises(SystemExit) as left:
        run("unlearn", unlearn, *words, *inputs(world), *QUIET, "logger=none", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert left.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 2
    assert "lr" in said[0]
    assert "1 of 2 jobs failed" in said[1]
    rows = table(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["failed", "complete"]
    assert "lr" in rows[0]["problem"]
    jobs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [path.name[:4] for path in jobs] == ["000-", "001-"]
    assert (jobs[1] / "edit").is_dir()
    assert not (jobs[0] / "edit").exists()
    assert (jobs[0] / ".hydra" / "overrides.yaml").is_file()


def test_jobs_that_find_a_run_in_their_folder_fail_the_sweep(world, tmp_path, capsys):
    words = ["-m", "seed=0,1", *inputs(world), "trainer=cpu", "logger=none", f"hydra.sweep.dir={tmp_path / 'sweep'}"]

    def claims(config):
        (run_folder(config) / "of_this_run.txt").write_text("a")

    run("unlearn", claims, *words, "hydra/job_logging=none")
    (tmp_path / "sweep" / "report").mkdir()
    with pytest.raises(SystemExit) as left:
        run("unlearn", claims, *words, "hydra/job_logging=none")
    assert left.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: 2 of 2 jobs failed; see " in last
    assert "already holds a run" in last


def test_a_bug_in_one_job_does_not_end_the_sweep(world, tmp_path, capsys):
    calls = []

    def buggy(config):
        calls.append(config.seed)
        if config.seed == 0:
            raise ZeroDivisionError("a bug")

    words = ["-m", "seed=0,1", *inputs(world), "trainer=cpu", "logger=none", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    with pytest.raises(SystemExit):
        run("unlearn", buggy, *words, "hydra/job_logging=none")
    assert calls == [0, 1]
    record = json.loads(next((tmp_path / "sweep").glob("000-*/run.json")).read_text())
    assert (record["status"], record["problem"]) == ("failed", "ZeroDivisionError: a bug")
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_a_signal_ends_a_training_or_a_sweep_in_one_line(tmp_path, tmp_path_factory, number):
    rng = random.Random(number)
    cache = tmp_path_factory.getbasetemp() / "signals"
    words = ["backbone=momask_demo", "concept=kick", "evaluate=false", f"paths.cache={cache}"]
    words += ["-m", "method=uce", "seed=0,1,2,3,4,5,6,7"] if number % 2 else ["method=lora"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "unlearn.py"), *words], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(rng.uniform(2, 15))
    sent = rng.choice([signal.SIGINT, signal.SIGTERM])
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + sent, err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: interrupted" if sent == signal.SIGINT else "error: stopped by SIGTERM"
    ]
    assert "Traceback" not in err
    statuses = [json.loads(path.read_text())["status"] for path in tmp_path.rglob("run.json")]
    assert set(statuses) <= {"interrupted", "complete"}
