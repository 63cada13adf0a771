from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hmu import app, refusals
from hmu.errors import HmuError
from tests.conftest import REPOSITORY


def run(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, env=environment
    )


@pytest.mark.parametrize("script", ["train.py", "unlearn.py", "evaluate.py"])
def test_scripts_stay_short_and_never_branch_on_names(script):
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert "if method" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["+typo=1"], "typo"),
        (["sed=1"], "sed"),
        (["method=nonsense"], "nonsense"),
        (["concept=nonsense"], "nonsense"),
        (["backbone=nonsense"], "nonsense"),
        (["method.unknown=1"], "unknown"),
        (["seed="], "seed"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(arguments, expected, tmp_path):
    done = run(str(REPOSITORY / "unlearn.py"), f"paths.output={tmp_path}", *arguments, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert not list(tmp_path.rglob("run.json"))


def test_a_full_disk_in_numpys_words_is_no_bug(capsys):
    def job():
        raise OSError("117480 requested and 5104 written")

    with pytest.raises(SystemExit) as left:
        app._or_fail(job)
    assert left.value.code == app.EXIT_USER_ERROR
    assert capsys.readouterr().err.startswith("error: cannot write a file: No space left on device")


def test_one_line_prefers_the_cause_that_we_raised():
    outer = ValueError("Error instantiating 'x'\nfull_key: a")
    outer.__cause__ = HmuError("say this")
    assert refusals._words(outer) == "say this"


def test_processes_of_one_distributed_run_share_a_stamp(tmp_path):
    code = "from hmu.processes import run_stamp; print(run_stamp())"
    env = {"TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": str(os.getpid()), "TMPDIR": str(tmp_path)}
    stamps = {run("-c", code, env=env).stdout.strip() for _ in range(3)}
    assert len(stamps) == 1
    assert stamps != {""}
