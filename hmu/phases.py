"""The arithmetic of :mod:`hmu.progress`: how much of which phase is done, how long the whole will still take."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hmu.durations import Seconds, about, clock, exact

log = logging.getLogger("hmu.progress")

SAID = 3.0  # seconds from which a phase that has ended is worth a line
SURE = 0.3  # share of a phase after which its own speed counts alone, not what was remembered


def _now() -> float:
    return time.perf_counter()


@dataclass
class Phase:
    """One stretch of work.

    Attributes:
        name: ``training``, ``generating`` …; total: how much there is to do, None if unknown; unit: of what.
        done: so far; skipped: how much of it cost nothing, because it was there already.
        note: shown behind the numbers (a loss).
        began, counted: when it began, and when something was last done (:func:`time.perf_counter`).
    """

    name: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    skipped: int = 0
    note: str = ""
    began: float = field(default_factory=_now)
    counted: float = field(default_factory=_now)

    def advance(self, count: int = 1) -> None:
        """``count`` more are done."""
        self.done += count
        self.counted = _now()

    def skip(self, count: int = 1) -> None:
        """``count`` more need not be done: they do not tell how fast the work is."""
        self.done += count
        self.skipped += count

    @property
    def seconds(self) -> float:
        """Since it began."""
        return _now() - self.began

    @property
    def pace(self) -> float | None:
        """Measured seconds per unit; None before the first."""
        worked = self.done - self.skipped
        return (self.counted - self.began) / worked if worked > 0 else None

    def left(self, pace: float) -> float:
        """Seconds until its end at ``pace``; what is under way since the last count is part of it."""
        return max(0.0, pace * ((self.total or 1) - self.done) - (_now() - self.counted))


@dataclass(frozen=True)
class Part:
    """A phase that a job is going to have.

    Attributes:
        what: what its speed depends on (a backbone, a device …); with the phase's name the key of what is remembered.
    """

    phase: str
    amount: int = 1
    unit: str = ""
    what: str = ""

    @property
    def key(self) -> str:
        """Under which its seconds per unit are remembered."""
        return f"{self.phase}: {self.what}" if self.what else self.phase


@dataclass
class Job:
    """Phases under way and phases planned.

    Attributes:
        place: ``job 2 of 9`` in a sweep, else empty.
        after: how many jobs follow this one; each is taken to be as long as ``usual`` or, without it, as this one.
        usual: mean seconds of the jobs before this one.
        open: the phases under way, the outermost first.
        parts: those planned; over: how many of them have ended.
    """

    memory: Seconds
    place: str = ""
    after: int = 0
    usual: float | None = None
    visible: bool = False
    began: float = field(default_factory=_now)
    open: list[Phase] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    over: int = 0

    def enter(self, phase: Phase) -> None:
        """A phase begins; the first of the parts left that has its name is under way, and those before it are over."""
        self.open.append(phase)
        if len(self.open) == 1:
            names = [part.phase for part in self.parts[self.over :]]
            self.over += names.index(phase.name) if phase.name in names else 0

    def leave(self, phase: Phase, finished: bool) -> None:
        """A phase has ended: remember its pace, and say how long it took if that was long."""
        outermost = self.open[0] is phase
        self.open.remove(phase)
        if not finished:
            return
        pace = phase.seconds if phase.total is None else phase.pace
        part = self.current(phase)
        if not outermost:  # what was done of a later part within another phase tells its pace, if nothing else does
            part = next((part for part in self.parts[self.over :] if part.phase == phase.name), None)
            if part is not None and self.memory.get(part.key) is not None:
                return
        if part is not None and pace is not None:
            self.memory.put(part.key, pace)
        if not outermost:
            return
        self.over += part is not None
        if phase.seconds >= SAID:
            unit = phase.unit.removesuffix("s") if phase.done == 1 else phase.unit
            amount = f"{phase.done} {unit}".strip() if phase.done else ""
            log.info("%s: %s", phase.name, ", ".join(filter(None, [amount, exact(phase.seconds)])))

    def current(self, phase: Phase) -> Part | None:
        """The part that ``phase`` is."""
        part = self.parts[self.over] if self.over < len(self.parts) else None
        return part if part is not None and part.phase == phase.name else None

    def left(self) -> tuple[float, list[str]] | None:
        """Seconds until the end of the job as planned, and the phases to come of which nothing is known, beside them.

        None without a plan, or as long as nothing tells how long the phase under way will take.
        """
        now = self.open[0] if self.open else None
        begun = now is not None and self.current(now) is not None
        rest = self.parts[self.over + begun :]
        seconds, unknown = self._expected(rest)
        if now is not None and begun:
            pace = self.pace(now)
            return None if pace is None else (seconds + now.left(pace), unknown)
        return (seconds, unknown) if len(unknown) < len(rest) else None

    def outlook(self) -> str:
        """The time of all parts, in words, before the first has begun."""
        seconds, unknown = self._expected(self.parts)
        if not unknown:
            return about(seconds)
        if len(unknown) > 1 or len(self.parts) == 1:
            return "time is known after the first batch"
        return f"{about(seconds)} and {unknown[0]}, whose time is not known yet"

    def _expected(self, parts: Sequence[Part]) -> tuple[float, list[str]]:
        """Seconds of parts to come, as far as they are remembered, and the phases of which nothing is known."""
        paces = [(part, self.memory.get(part.key)) for part in parts]
        seconds = sum(part.amount * pace for part, pace in paces if pace is not None)
        return seconds, [part.phase for part, pace in paces if pace is None]

    def pace(self, phase: Phase) -> float | None:
        """Seconds per unit of the outermost phase: what is remembered gives way to what is measured."""
        part = self.current(phase)
        before = None if part is None else self.memory.get(part.key)
        measured = phase.pace if phase.total else None
        if before is None or measured is None:
            return measured if before is None else before
        share = (phase.done - phase.skipped) / max(1, (phase.total or 1) - phase.skipped)
        weight = min(1.0, share / SURE)
        return weight * measured + (1 - weight) * before

    def line(self) -> tuple[str, int, int | None, str]:
        """For the bar: what is done now, how much of it, of how much, and the rest of the words."""
        now = self.open[-1] if self.open else Phase("loading" if not self.parts else "working", began=self.began)
        words = [f"{now.done}/{now.total} {now.unit}".strip() if now.total else clock(now.seconds), now.note]
        pace = self.pace(now) if now is (self.open[0] if self.open else None) else now.pace
        if now.total and pace is not None:
            words.append(f"{clock(now.left(pace))} left")
        job = self.left()
        if job is not None:
            words.append(" + ".join([f"job done in {clock(job[0])}", *job[1]]))
        words.append(self._sweep(job[0] if job is not None and not job[1] else None))
        name = f"{self.place}: {now.name}" if self.place else now.name
        return name, now.done, now.total, " · ".join(filter(None, words))

    def _sweep(self, left: float | None) -> str:
        """Time left of all jobs of a sweep, as soon as one of them is known."""
        spent = _now() - self.began
        whole = self.usual if self.usual is not None or left is None else spent + left
        if not self.after or whole is None:
            return ""
        rest = max(0.0, whole - spent) if left is None else left
        return f"all jobs done in {about(rest + self.after * whole)}"
