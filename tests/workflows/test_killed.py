"""Commands that were killed at any moment (``kill -9``) and are given again end as undisturbed ones, to the byte."""

from __future__ import annotations

import functools
import json
import os
import random
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

import hmu.workflows.evaluation
import hmu.workflows.unlearning  # noqa: F401 (before the forks)
from hmu.motion.skeleton import T2M
from tests.conftest import REPOSITORY
from tests.motion.walker import walker
from tests.tools.test_import_bvh import bvh_of
from tests.workflows.test_interrupted import numbers

KILLS = 5  # of each command
CLIPS = "dataset.generator.clips=60"
SUITE = ["suite.limits={forget:2,retain:4,neighbours:2,paraphrase:2,implicit:2}", "suite.repeats=2", "threads=1"]


@dataclass(frozen=True)
class Job:
    """A command and what it leaves behind.

    Attributes:
        words: the command line of a place (a folder of its own). outcome: what must be equal in the end.
    """

    words: Callable[[Path], list[str]]
    outcome: Callable[[Path], object]


def content(*names: str) -> Callable[[Path], object]:
    """All bytes below folders of a place, but logs."""

    def read(place: Path) -> object:
        paths = [path for name in names for path in (place / name).rglob("*") if path.is_file()]
        kept = [path for path in paths if not any(part.endswith((".tmp", ".log")) for part in path.parts)]
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in kept}

    return read


def complete(place: Path) -> Path:
    """The run folder that is complete."""
    records = sorted((place / "outputs").rglob("run.json"))
    (done,) = [path.parent for path in records if json.loads(path.read_text())["status"] == "complete"]
    return done


def edit_and_numbers(place: Path) -> object:
    run = complete(place)
    return [path.read_bytes() for path in (run / "edit").glob("*.safetensors")], numbers(run)


def paths(place: Path) -> list[str]:
    return [f"paths.cache={place / 'cache'}", f"paths.output={place / 'outputs'}", CLIPS]


def unlearning(place: Path) -> list[str]:
    quick = ["backbone=momask_demo", "method=lora", "method.steps=2", "method.batch_size=4", "concept=kick"]
    return ["unlearn.py", *quick, *paths(place), *SUITE, "logger=none", "trainer=cpu"]


def imports(root: Path) -> Job:
    source = root / "bvh"
    source.mkdir()
    for k in range(40):
        (source / f"clip{k}.bvh").write_text(bvh_of(walker(81, k)))
    lines = [f"clip{k}.bvh,a person walks {k} steps" for k in range(40)]
    (root / "captions.csv").write_text("\n".join(["file,caption1", *lines]) + "\n")
    joints = "".join(f"  {name}: {name}\n" for name in T2M.joint_names)
    (root / "own.yaml").write_text(
        f"_target_: hmu.motion.mapping.JointMapping\nname: own\nunit: 0.01\njoints:\n{joints}"
    )
    given = [f"source={source}", f"captions={root / 'captions.csv'}", f"mapping={root / 'own.yaml'}"]
    return Job(lambda place: ["-m", "hmu.tools.import_bvh", *given, f"target={place / 'data'}"], content("data"))


def start(words: list[str], said: Path) -> int:
    """The id of a process that runs a command, forked from this one, which has imported everything: no waiting."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.environ.pop("HMU_RUN_STAMP", None)
        for stream in (1, 2):
            os.dup2(os.open(said, os.O_CREAT | os.O_APPEND | os.O_WRONLY), stream)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)  # not those of pytest
        GlobalHydra.instance().clear()
        sys.argv = words[1:] if words[0] == "-m" else [str(REPOSITORY / words[0]), *words[1:]]
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(sys.argv[0], run_name="__main__")
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    finally:
        os._exit(code)


def finish(process: int, said: Path) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, said.read_text()[-3000:]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Callable[[str], tuple[Job, object, int]]:
    """Of a command: what an undisturbed one leaves behind, and how many files that are."""
    root = tmp_path_factory.mktemp("jobs")

    def evaluation(place: Path) -> list[str]:
        run("unlearn")
        measured = complete(root / "unlearn")
        return ["evaluate.py", f"ckpt={measured}", *paths(place), *SUITE, f"hydra.run.dir={place / 'outputs' / 'run'}"]

    def building(place: Path) -> list[str]:
        return ["-m", "hmu.tools.doctor", "deep=true", *paths(place)[:1], "dataset.generator.clips=200"]

    every = {
        "unlearn": Job(unlearning, edit_and_numbers),
        "evaluate": Job(evaluation, lambda place: numbers(complete(place))),
        "import": imports(root),
        "cache": Job(building, content("cache")),
    }

    @functools.cache
    def run(name: str) -> tuple[Job, object, int]:
        job, place = every[name], root / name
        words = job.words(place)
        place.mkdir()
        said = root / f"{name}.log"
        finish(start(words, said), said)
        return job, job.outcome(place), written(place)

    return run


def written(place: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(place))


def kill_somewhere(process: int, place: Path, after: int, pause: float) -> None:
    """``kill -9`` a little after the command has written so many files."""
    while written(place) < after:
        assert os.waitpid(process, os.WNOHANG) == (0, 0), "it ended before it was killed: this shows nothing"
        time.sleep(0.002)
    time.sleep(pause)
    os.kill(process, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL, "it ended before it was killed"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("name", ["unlearn", "evaluate", "import", "cache"])
def test_killed_and_given_again(undisturbed, tmp_path, name, number):
    job, expected, files = undisturbed(name)
    chance = random.Random(f"{name} {number}")
    place, said = tmp_path / "place", tmp_path / "said.log"
    place.mkdir()
    words = job.words(place)
    after, pause = int((number + chance.random()) / KILLS * 0.9 * files), chance.random() / 20
    kill_somewhere(start(words, said), place, after, pause)
    finish(start(words, said), said)
    assert job.outcome(place) == expected
