"""One run, one folder: claimed by one job alone, never somebody else's, and it says how the run ended."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hmu import folders
from hmu.errors import ConfigError
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _no_job_before():
    folders.done()
    yield
    folders.done()


def claimed_by(status: str, process: int, folder) -> None:
    folder.mkdir(exist_ok=True)
    record = {"status": status, "host": platform.node(), "process": process}
    (folder / "run.json").write_text(json.dumps(record))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_new_folder_is_claimed_and_given_back(tmp_path):
    folder = folders.claim(tmp_path / "a" / "run")
    assert folders.read(folder) == {"status": "starting", "host": platform.node(), "process": os.getpid()}
    (folder / "unlearn.log").write_text("packing\n")
    folders.end("failed", "a mistake")
    assert not folder.exists()


def test_a_run_that_had_begun_says_how_it_ended(tmp_path):
    folder = folders.claim(tmp_path / "run")
    folders.write(folder, {**folders.read(folder), "status": "running", "seed": 3})
    folders.end("interrupted", "stopped by SIGTERM")
    said = folders.read(folder)
    assert (said["status"], said["problem"], said["seed"]) == ("interrupted", "stopped by SIGTERM", 3)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "metrics.json"])
def test_a_folder_of_the_users_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"not empty \({name}\).*nothing was changed"):
        folders.claim(tmp_path)
    folders.end("failed", "")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


@pytest.mark.parametrize("status", ["running", "complete", "failed", "interrupted"])
def test_an_old_run_is_never_overwritten(tmp_path, status):
    claimed_by(status, dead_process(), tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        folders.claim(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_run_that_is_alive_is_named(tmp_path):
    claimed_by("running", os.getppid(), tmp_path)
    with pytest.raises(ConfigError, match=f"in use by a run of process {os.getppid()}"):
        folders.claim(tmp_path)


def test_the_claim_of_a_job_that_died_before_it_wrote_anything_is_no_run(tmp_path):
    claimed_by("starting", dead_process(), tmp_path)
    (tmp_path / "evaluate.log").write_text("packing\n")
    folders.claim(tmp_path)
    assert folders.read(tmp_path)["process"] == os.getpid()


def test_of_jobs_that_ask_at_once_one_gets_the_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hmu import folders; sys.stdin.readline()\n"
        "try: folders.claim(Path(sys.argv[1])); print('mine', flush=True)\n"
        "except folders.ConfigError as error: print(error, flush=True)\n"
        "sys.stdin.readline()"  # alive until all have asked: the claim of a dead job may be taken
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
    jobs = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for job in jobs:
        job.stdin.write("go\n")
        job.stdin.flush()
    lines = [job.stdout.readline().strip() for job in jobs]
    for job in jobs:
        job.communicate()
    assert lines.count("mine") == 1, lines
    assert all("run" in line for line in lines if line != "mine")


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["method=lora", "concept=kick", "method.rank=8"], "003-lora-kick-rank_8"),
        (["seed=1"], "003-seed_1"),
        (["concept=hmu/violence"], "003-violence"),
        (["backbone.checkpoint=/data/some model,v=2/"], "003-checkpoint_some_model_v_2"),
        (["+method.lists=[a/codes.yaml,'b c']"], "003-lists_codes.yaml_b_c"),
        ([], "003"),
        (["prompt='ein Mann läuft'"], "003-prompt_ein_Mann_l_uft"),
    ],
)
def test_the_folder_of_a_sweeps_job_is_readable(overrides, name):
    assert folders.job_name(overrides, 3) == name


def test_names_of_jobs_always_fit_and_can_be_given_again():
    long = [f"suite.limits.{'x' * n}={n}" for n in range(1, 60)]
    names = {folders.job_name(long, 0), folders.job_name(long[::-1], 0)}
    assert len(names) == 2
    for name in names:
        assert len(name) < 100
        for word in (f"ckpt=outputs/sweeps/x/{name}", f"edits=[outputs/{name}:1.0]"):
            OverridesParser.create().parse_override(word)
