"""A killed evaluation, and one of several processes, end with the numbers of an undisturbed one: as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.run import continued_folder
from tests.conftest import REPOSITORY
from tests.workflows.test_distributed import free_port
from tests.workflows.toy import inputs

REPEATS, SETS = 4, 5


def words(world: Path, folder: Path, cache: Path) -> list[str]:
    """The command line of an evaluation of the toy backbone that keeps what it generates in ``cache``."""
    mine = [f"ckpt={world / 'backbone'}", f"hydra.run.dir={folder}", "device=cpu", "seed=3", "threads=1"]
    small = [
        "suite.limits={forget:2,retain:8,neighbours:2,paraphrase:2,implicit:4}",
        f"suite.repeats={REPEATS}",
        "suite.batch_size=3",
    ]
    return [*inputs(world), f"paths.cache={cache}", *small, "suite.gallery=null", *mine]


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HMU_RUN_STAMP"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=1800)
    assert process.returncode == 0, said[-3000:]


def numbers(folder: Path) -> list[tuple[object, ...]]:
    """Every row of a ``metrics.json``, its floating numbers rounded to a part in a million."""
    rows = Results.load(folder / "metrics.json").rows
    return [tuple(f"{v:.6g}" if isinstance(v, float) else v for v in (*r.key, r.model, r.low, *r.values)) for r in rows]


def generated(cache: Path) -> list[Path]:
    """Seals of finished motions; what is being written lies below a name that ends in ``.tmp``."""
    return [path for path in (cache / "generated").glob("*/seal.crc") if path.parent.suffix != ".tmp"]


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    finish(start(["evaluate.py", *words(world, root / "run", root / "cache")]))
    assert len(generated(root / "cache")) == REPEATS * SETS
    return root / "run"


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again(world, undisturbed, tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    command = ["evaluate.py", *words(world, folder, cache)]
    process = start(command)
    while len(generated(cache)) < 2 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(generated(cache))
    assert process.returncode == -signal.SIGKILL
    assert 2 <= kept < REPEATS * SETS, "killed too late: this run shows nothing"
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    before = {path: path.stat().st_mtime_ns for path in generated(cache)}
    finish(start(command))
    assert json.loads((folder / "run.json").read_text())["status"] == "complete"
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not generated again
    assert numbers(folder) == numbers(undisturbed)


@pytest.mark.slow
def test_two_processes_find_the_numbers_of_one(world, undisturbed, tmp_path):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    finish(start([*launch, "evaluate.py", *words(world, tmp_path / "run", tmp_path / "cache")]))
    assert len(generated(tmp_path / "cache")) == REPEATS * SETS
    assert numbers(tmp_path / "run") == numbers(undisturbed)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"


@pytest.mark.parametrize(
    ("status", "changed", "goes_on"),
    [("running", 0, True), ("interrupted", 0, True), ("complete", 0, False), ("running", 1, False)],
)
def test_only_a_killed_run_of_the_same_configuration_is_taken_up(tmp_path, monkeypatch, status, changed, goes_on):
    config = OmegaConf.create({"seed": 1})
    (tmp_path / "run.json").write_text(json.dumps({"status": status}))
    OmegaConf.save(OmegaConf.create({"seed": 1 + changed}), tmp_path / "config.yaml")

    hydra = SimpleNamespace(runtime=SimpleNamespace(output_dir=str(tmp_path)))
    for module in ("hmu.run", "hmu.folders"):
        monkeypatch.setattr(f"{module}.running", lambda: hydra)
    if goes_on:
        assert continued_folder(config, config) == tmp_path
    else:
        with pytest.raises(ConfigError, match="already holds a run"):
            continued_folder(config, config)
