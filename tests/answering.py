"""Commands answered in this process as the command line would, one after the other, each as if it were the first.

A fresh process costs seconds of imports for every command; here they are paid once. What a command leaves behind in
the process is taken back before the next one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import runpy
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.conftest import REPOSITORY

LIMIT = 60.0  # seconds that any command may take, far above what it needs


class Hangs(BaseException):
    """A command did not end. No ``Exception``: nothing that the command catches may keep it alive."""


@dataclass(frozen=True)
class Answer:
    """What came of a command: exit code, the lines on stderr that name a mistake, seconds, a trace if there was one."""

    code: object
    lines: list[str]
    seconds: float
    trace: str


def prepare(here: str) -> None:
    """Make this process a user's shell in the folder ``here``, with steps and limits cut."""
    import torch

    import hmu.workflows.evaluation
    import hmu.workflows.measure
    import hmu.workflows.pretraining
    import hmu.workflows.unlearning  # noqa: F401

    os.chdir(here)
    for name in ("HMU_ROOT", "HMU_RUN_STAMP", "HYDRA_FULL_ERROR", "RANK", "LOCAL_RANK"):
        os.environ.pop(name, None)
    os.environ.update(HMU_DEBUG="fast")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _hangs)


def answer(command: str, limit: float = LIMIT) -> Answer:
    """Run ``command`` as typed after ``python``; a line that ``limit`` seconds do not bring counts as a hang."""
    environment, target, arguments = taken_apart(command)
    out, err, code, trace = io.StringIO(), io.StringIO(), None, ""
    start = time.perf_counter()
    try:
        with (
            _fresh([target, *arguments], environment),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            faulthandler.dump_traceback_later(2 * limit, exit=True, file=sys.__stderr__)  # code that no signal reaches
            signal.setitimer(signal.ITIMER_REAL, limit)
            if target.endswith(".py"):
                runpy.run_path(target, run_name="__main__")
            else:
                runpy.run_module(target, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        code = left.code
    except BaseException:
        trace = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    lines = [line for line in err.getvalue().split("\n") if line.startswith("error: ")]
    return Answer(code, lines, time.perf_counter() - start, trace or _trace(err.getvalue()))


def taken_apart(command: str) -> tuple[dict[str, str], str, list[str]]:
    """What is set in front of a command as in a shell (``HMU_DEBUG= unlearn.py``), its script or module, its arguments.

    ``\\n`` stands for the character.
    """
    words = [word.replace("\\n", "\n") for word in shlex.split(command)]
    environment = {}
    while "=" in words[0]:
        name, _, environment[name] = words.pop(0).partition("=")
    target, arguments = (words[1], words[2:]) if words[0] == "-m" else (str(REPOSITORY / words[0]), words[1:])
    return environment, target, arguments


@contextlib.contextmanager
def _fresh(words: list[str], more: dict[str, str]) -> Iterator[None]:
    """What one command leaves in a process is taken back: logging, environment, Hydra, what is claimed, signals."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from hmu import folders
    from hmu.report import sweep

    argv, environment, root = sys.argv, dict(os.environ), logging.getLogger()
    os.environ.update(more)
    handlers, level = root.handlers[:], root.level
    sys.argv = words
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        folders.done()
        sweep._running = None
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _hangs(number: int, frame: FrameType | None) -> None:
    raise Hangs(f"at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else "")


def _trace(err: str) -> str:
    """A stack trace that was printed rather than raised."""
    return err[err.index("Traceback (") :] if "Traceback (" in err else ""


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and folder below ``folder`` by name, with what it holds (of FIFOs and links: what they are)."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "special"
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else kind
    return found
