"""Every mistake of ``mistakes.csv`` is told in one good line, before the work, and leaves nothing behind.

Columns: ``command`` as typed after ``python`` (``{tmp}`` is a folder with the files of :func:`things`), ``expected``, a
distinctive part of the line, and ``phase``: when it can be told at the earliest (``start``: from the configuration
alone; ``data``; ``model``; ``work``). All rows run in two processes, each many commands.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import runpy
import shlex
import shutil
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.mistaken import things

PHASES = {"start": 30.0, "data": 60.0, "model": 60.0, "work": 90.0}  # seconds, far above what it takes


@dataclass(frozen=True)
class Mistake:
    command: str
    expected: str
    phase: str


@dataclass(frozen=True)
class Answer:
    """What came of a command: exit code, lines on stderr that name a mistake, seconds, a trace if there was one."""

    code: object
    lines: list[str]
    seconds: float
    trace: str


def rows() -> list[Mistake]:
    with (REPOSITORY / "tests" / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        return [Mistake(**row) for row in csv.DictReader(file)]


def prepare(home: str) -> None:
    """A worker: the same environment as a user's, at toy size."""
    os.chdir(home)
    for name in ("HMU_ROOT", "HMU_RUN_STAMP", "HYDRA_FULL_ERROR"):
        os.environ.pop(name, None)
    os.environ.update(HMU_DEBUG="fast", OMP_NUM_THREADS="1", WANDB_MODE="offline")
    import torch

    torch.set_num_threads(1)


def answer(mistake: Mistake, home: str) -> Answer:
    """Run the command in this process as the command line would."""
    from hydra.core.global_hydra import GlobalHydra

    from hmu import folders

    words = shlex.split(mistake.command.replace("{tmp}", home).replace("{repo}", str(REPOSITORY)))
    module = words[0] == "-m"
    target, arguments = (words[1], words[2:]) if module else (str(REPOSITORY / words[0]), words[1:])
    os.environ.pop("HMU_RUN_STAMP", None)
    GlobalHydra.instance().clear()
    folders.done()
    argv, sys.argv = sys.argv, [target, *arguments]
    out, err, code, trace = io.StringIO(), io.StringIO(), None, ""
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if module:
                runpy.run_module(target, run_name="__main__")
            else:
                runpy.run_path(target, run_name="__main__")
    except SystemExit as left:
        code = left.code
    except BaseException:
        trace = traceback.format_exc()
    finally:
        sys.argv = argv
    lines = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    return Answer(code, lines, time.perf_counter() - start, trace)


def wrong(mistake: Mistake, got: Answer, home: str) -> str | None:
    """What is not as it should be, None if nothing is."""
    if got.trace:
        return f"a stack trace: {got.trace.strip().splitlines()[-1][:300]}"
    if got.code in (0, None):
        return "accepted"
    if len(got.lines) != 1:
        return f"{len(got.lines)} lines: {got.lines}"
    line = got.lines[0].replace(home, "").replace(str(REPOSITORY), "")
    if mistake.expected.lower() not in line.lower():
        return f"said: {line}"
    if len(line) > 500:
        return f"a line of {len(line)} characters"
    return f"took {got.seconds:.0f} s" if got.seconds > PHASES[mistake.phase] else None


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    things(folder)
    return folder


def test_every_mistake_is_one_line(home):
    listed = rows()
    assert len({mistake.command for mistake in listed}) == len(listed)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=prepare, initargs=(str(home),)) as pool:
        got = list(pool.map(answer, listed, [str(home)] * len(listed), chunksize=1))
    pairs = list(zip(listed, got, strict=True))
    bad = [f"{m.command}\n    {problem}" for m, a in pairs if (problem := wrong(m, a, str(home)))]
    assert not bad, f"{len(bad)} of {len(listed)}:\n" + "\n".join(bad)
    left = [path for path in (home / "outputs").rglob("*") if path.is_file()] if (home / "outputs").is_dir() else []
    assert not left, f"a refused command left {left[:5]}"


def test_rows_are_whole():
    for mistake in rows():
        assert mistake.phase in PHASES, mistake
        assert len(mistake.expected) >= 3, mistake
        assert not Path(shutil.os.path.expanduser(mistake.command)).is_absolute()
