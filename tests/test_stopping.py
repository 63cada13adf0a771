"""A signal ends a job in one line, with the shell's code, whatever the job is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY

JOB = """
import sys, time
from hmu import app, stopping
stopping.GRACE = 1.0
stopping.listen()
def job():
    print("ready", flush=True)
    {body}
app._or_fail(job)
print("went on")
"""
BODIES = {
    "waits": "time.sleep(30)",
    "computes": "sum(i for i in range(10**10))",
    "swallows": """
    while True:
        try: time.sleep(30)
        except BaseException: pass""",
    "import cut in half": """
    try: time.sleep(30)
    except BaseException: raise AttributeError("partially initialized module")""",
    "lightning": """
    try: time.sleep(30)
    except KeyboardInterrupt: sys.exit(1)""",
}


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("body", BODIES)
def test_a_signal_ends_the_job(name, code, body):
    if body != "waits" and name == "SIGHUP":
        pytest.skip("one signal more is enough for one body")
    process = subprocess.Popen(
        [sys.executable, "-c", JOB.format(body=BODIES[body])],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert err.splitlines() == ["error: interrupted" if name == "SIGINT" else f"error: stopped by {name}"]
    assert "went on" not in out
