"""What a job is doing: its phases, how much of each is done, and how long the whole will still take.

Any code opens a :func:`phase` and counts what is done; a number is added, nothing else. Inside a :func:`job` the phases
are shown: on a terminal by one bar, otherwise by one line for each that took a while. Without a job they are silent.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from hmu.bar import Bar
from hmu.durations import Seconds
from hmu.phases import Job, Part, Phase

log = logging.getLogger(__name__)
T = TypeVar("T")

_job: Job | None = None
_sweep = {"total": 0, "ended": 0, "seconds": 0.0}


@contextmanager
def phase(name: str, total: int | None = None, unit: str = "") -> Iterator[Phase]:
    """Work that a person may wait for; ``with phase("packing", len(ids), "clips") as done: … done.advance()``.

    Phases may be nested: the innermost is shown, the outermost counts for the time left. ``total``: None if unknown.
    """
    own, running, finished = Phase(name, total, unit), _job, False
    if running is not None:
        running.enter(own)
    try:
        yield own
        finished = True
    finally:
        if running is not None:
            running.leave(own, finished)


def batches(items: Sequence[T], size: int, name: str, unit: str) -> Iterator[Sequence[T]]:
    """``items`` in slices of ``size``; more than one of them are a phase, whose items count when the next is asked."""
    if len(items) <= size:
        yield from filter(len, [items])
        return
    with phase(name, len(items), unit) as done:
        for start in range(0, len(items), size):
            part = items[start : start + size]
            yield part
            done.advance(len(part))


def plan(parts: Sequence[Part], words: str) -> None:
    """Say once what the job is going to do, and how long that may take as far as earlier jobs tell.

    ``words`` say the same for a person: ``120 steps, 197 prompts × 2 models × 2 seeds``.
    """
    if _job is not None:
        _job.parts, _job.over = list(parts), 0
        log.info("plan: %s: %s", words, _job.outlook())


@contextmanager
def job(memory: Seconds, number: int | None = None, silent: bool = False) -> Iterator[Job]:
    """Show phases until the end of the block; ``number``: of a sweep's job; ``silent``: a process that only helps."""
    global _job
    total, ended = int(_sweep["total"]), int(_sweep["ended"])
    place = "" if number is None else f"job {number + 1}" + (f" of {total}" if total else "")
    usual = _sweep["seconds"] / ended if ended else None
    own = Job(memory, place, max(0, total - (number or 0) - 1), usual)
    outer, _job = _job, own
    try:
        own.visible = _on_terminal() and not silent
        with Bar(own.line, on=own.visible):
            yield own
    finally:
        _job = outer
        if number is not None:
            _sweep["ended"] += 1
            _sweep["seconds"] += time.perf_counter() - own.began


def sweep(total: int) -> None:
    """A sweep of ``total`` jobs begins in this process (0: nobody knows how many)."""
    _sweep.update(total=total, ended=0, seconds=0.0)


def shown() -> bool:
    """Whether a job is running whose bar is on a screen."""
    return _job is not None and _job.visible


def _on_terminal() -> bool:
    """Whether there is a terminal to show a bar on; ``HMU_PROGRESS=0`` shows none."""
    asked = os.environ.get("HMU_PROGRESS", "1").lower() not in ("0", "false", "no", "off")
    return asked and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
