"""The documented way to use several processes, as a user types it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from hmu.evaluation.results import Results
from tests.conftest import REPOSITORY
from tests.workflows.toy import inputs


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_torchrun_with_two_processes_makes_one_run_folder(world, tmp_path):
    more = ["method=esd", "concept=kick", "method.steps=2", "method.batch_size=4", "logger=csv", "seed=3"]
    more += ["trainer=ddp_cpu", "trainer.enable_progress_bar=false", *inputs(world), f"paths.output={tmp_path}"]
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "unlearn.py"]
    environment = {name: value for name, value in os.environ.items() if name != "HMU_RUN_STAMP"}
    done = subprocess.run(
        [sys.executable, *command, *more],
        cwd=REPOSITORY,
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = tmp_path.rglob("run.json")
    folder = record.parent
    assert json.loads(record.read_text())["status"] == "complete"
    assert folder.parent == tmp_path / "unlearn" / "demo" / "salad_demo" / "esd-kick"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(list(tmp_path.rglob("edit.json"))) == len(list(tmp_path.rglob("metrics.json"))) == 1
    edit = json.loads((folder / "edit" / "edit.json").read_text())
    assert edit["settings"]["training"]["steps"] == 2
    assert {row.model for row in Results.load(folder / "metrics.json").rows} == {"base", "unlearned"}
    assert not list(tmp_path.rglob("*.tmp"))
