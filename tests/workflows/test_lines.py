"""What whole jobs print: into a file in plain lines, each once; on a terminal with one bar above which lines pass."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.workflows.toy import inputs

#: what libraries have been seen to print about themselves, or are known to
NOISE = (
    "💡", "Tip:", "litlogger", "GPU available", "TPU available", "HPU available", "Trainer.fit` stopped", "LeafSpec",
    "deprecated", "num_workers", "transfer_batch_to_device", "srun", "fontManager", "Launching", "Epoch 0", "INFO:",
    "Starting from v", "lightning.ai", "site-packages",
)  # fmt: skip


def command(world, *overrides: str) -> list[str]:
    quiet = ["trainer=cpu", "logger=csv", "method=esd", "method.steps=2", "method.batch_size=4", "backbone=momask_demo"]
    return [sys.executable, "unlearn.py", *quiet, *inputs(world, "momask_demo"), *overrides]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("HMU_RUN_STAMP", "HMU_PROGRESS", "COLUMNS")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def test_a_job_into_a_file_prints_plain_lines_each_once(world):
    done = subprocess.run(
        command(world), cwd=REPOSITORY, env=environment(), capture_output=True, timeout=300, check=False
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, err
    assert err == ""
    assert "\r" not in out
    assert "\x1b" not in out
    for noise in NOISE:
        assert noise not in out, out
    lines = [line for line in out.splitlines() if line.strip()]
    words = [line[10:] if line[2:3] == ":" else line for line in lines]  # without the time of day
    assert len(words) == len(set(words)), out
    plan = next(line for line in words if line.startswith("plan: "))
    assert "2 steps, " in plan
    assert " prompts × 2 models × 2 seeds" in plan
    assert words.index(plan) < next(number for number, line in enumerate(words) if line.startswith("edit saved"))
    assert words[-1].startswith("done in ")
    assert words[-1].endswith("report.html")


pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")


def on_terminal(words: list[str], env: dict[str, str]) -> str:
    """What a command writes to a terminal of 24 lines and 132 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
    process = subprocess.Popen(words, cwd=REPOSITORY, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait(60) == 0, seen.decode()
    return seen.decode()


def screen(written: str) -> list[str]:
    """The lines that stay on a terminal: a carriage return goes back, what follows covers what was there."""
    lines = []
    for line in written.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_on_a_terminal_one_bar_shows_every_phase_and_tears_no_line(world):
    written = on_terminal(command(world, "seed=4", "method.steps=100"), environment(TERM="xterm", LANG="C.UTF-8"))
    for phase in ("loading", "training"):
        assert f"\r{phase} " in written, phase
    for noise in NOISE:
        assert noise not in written
    lines = screen(written)
    assert any(line[10:].startswith("plan: esd") for line in lines)
    assert lines[-2][10:].startswith("done in ")
    assert lines[-1] == ""  # the bar is gone
    left = [line for line in lines if "left ·" in line or "job done in" in line]
    assert left == []
    assert written.count("\r") < 2000


def test_a_refused_job_on_a_terminal_leaves_its_line_alone():
    words = [sys.executable, "unlearn.py", "concept=nothing_of_the_kind"]
    process = subprocess.run(words, cwd=REPOSITORY, env=environment(), capture_output=True, timeout=120, check=False)
    assert process.returncode == 2
    assert process.stdout == b""
    assert process.stderr.count(b"\n") == 1
