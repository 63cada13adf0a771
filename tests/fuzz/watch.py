"""One reading of a damaged file under watch: it ends in time, with a result or with an error of ours in one line."""

from __future__ import annotations

import faulthandler
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hmu.errors import HmuError

SECONDS = 5.0  # a reading that takes longer counts as hanging
LAST = 60.0  # seconds after which a reading that no signal reaches ends the process, with a trace
LONGEST = 300  # characters of a message, without the path of the file


class Hang(BaseException):
    """Raised by the alarm; no reader catches it."""


@dataclass(frozen=True)
class Outcome:
    """How a reading ended: ``read``, ``refused``, or what is wrong with it. ``seconds`` it took."""

    told: str
    seconds: float

    @property
    def good(self) -> bool:
        return self.told in ("read", "refused")


def attempt(read: Callable[[], object], path: Path) -> Outcome:
    """Read a file once."""

    def ring(_signal: int, _frame: FrameType | None) -> Any:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(LAST, exit=True)
    start = time.perf_counter()
    try:
        told = _told(read, path)
    except Hang:
        told = f"no end within {SECONDS:g} s"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    seconds = time.perf_counter() - start
    if seconds > SECONDS and told in ("read", "refused"):
        told = f"{told} after {seconds:.1f} s"
    return Outcome(told, seconds)


def _told(read: Callable[[], object], path: Path) -> str:
    try:
        read()
    except HmuError as error:
        message = str(error)
        for known in (str(path), str(path.parent), str(path.parents[1])):
            message = message.replace(known, "")
        if "\n" in message or len(message) > LONGEST:
            return f"message of {len(message)} characters, {len(message.splitlines())} lines: {message[:80]!r}"
        return "refused"
    except Exception as error:  # whatever comes here is a fault
        place = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "/hmu/" in f.filename), None)
        where = "" if place is None else f" at hmu/{place.filename.rpartition('/hmu/')[2]}:{place.lineno}"
        return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:80]}"
    return "read"
