"""Signals that ask a job to stop: it ends in one line with the shell's code for them, and always ends."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from hmu import folders

GRACE = 10.0  # seconds between a signal and the end, whatever the job is doing
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # those that the system has


class Stopped(BaseException):
    """A signal asked the job to stop. No ``Exception``: what catches those, and Lightning's own Ctrl-C, must not."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number  # as shells give it: 130 for Ctrl-C, 143 for SIGTERM
        self.line = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"

    def leave(self) -> NoReturn:
        """Say the line and end, with what is registered for the end (a logger's last files), without unwinding further.

        Threads of C++ libraries that are stopped in the middle of their work abort the interpreter's own last steps.
        """
        self._say()
        _ended.set()
        logging.shutdown()
        atexit._run_exitfuncs()
        os._exit(self.code)

    def cut(self) -> NoReturn:
        """End at once: files are written under other names and renamed, so that none is half."""
        folders.end("interrupted", self.line)
        self._say()
        os._exit(self.code)

    def _say(self) -> None:
        sys.stderr.write(f"error: {self.line}\n")
        sys.stderr.flush()


_first: Stopped | None = None
_ended = threading.Event()


def listen() -> None:
    """Raise :class:`Stopped` in the main thread when a signal comes.

    An exception raised by a signal can get lost (in a destructor, in a library that swallows everything): after
    :data:`GRACE` seconds the process leaves all the same. A second signal leaves at once. Ignored signals (``nohup``)
    stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        global _first
        if os.getpid() != owner:  # a worker process that inherited this: its parent tells the user
            os._exit(128 + number)
        if _first is not None:
            _first.cut()
        _first = Stopped(number)
        threading.Thread(target=_insist, args=(_first,), daemon=True).start()
        raise _first

    for name in NAMES:
        number: Any = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def check() -> None:
    """Raise again what a library has swallowed; called between the jobs of a sweep."""
    if _first is not None:
        raise _first


def stoppable(job: Callable[[], object]) -> object:
    """``job()``; another error that a signal has led to (an import cut in half) counts as the signal."""
    try:
        return job()
    except Exception:
        check()
        raise


def _insist(stopped: Stopped) -> None:
    if not _ended.wait(GRACE):
        stopped.cut()
