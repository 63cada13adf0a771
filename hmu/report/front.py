"""Forget against keep: a score between 0 and 1 for each, the runs that no other run beats in both, and the knee."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from hmu.errors import ConfigError
from hmu.evaluation.results import Results
from hmu.evaluation.scoreboard import clipped, harms, kept_metrics, recoveries, scoreboard
from hmu.evaluation.sets import FORGET_SIDE
from hmu.metrics.declared import declared, value_named
from hmu.metrics.detector_rate import RATE
from hmu.report.runs import Line, Run

BOARD = "board"


@dataclass(frozen=True)
class Point:
    """A line of the table in the plane: forgotten (0 as the base … 1) and kept (1 as the base … 0)."""

    line: Line
    forget: float
    keep: float

    @property
    def distance(self) -> float:
        """To the corner where all is forgotten and all is kept."""
        return math.hypot(1 - self.forget, 1 - self.keep)


@dataclass(frozen=True)
class Front:
    """One task (data set, backbone, concept): the lines of its table, and points of those whose scores are known."""

    task: tuple[str, str, str]
    lines: tuple[Line, ...]
    points: tuple[Point, ...]

    @cached_property
    def best(self) -> list[Point]:
        """Points that are not beaten."""
        return not_beaten(self.points)

    @cached_property
    def knee(self) -> Point | None:
        """The one among them to take."""
        return knee(self.best)

    def point_of(self, line: Line) -> Point | None:
        """Where a line of the table is, None where its scores are not known."""
        return next((point for point in self.points if point.line is line), None)

    def mark(self, line: Line) -> str:
        """``★`` for the knee, ``●`` for the others that no run beats."""
        point = self.point_of(line)
        return "" if point not in self.best else "★" if point is self.knee else "●"


def forget_score(results: Results, axis: str) -> float | None:
    """How much of the concept is gone, 0 … 1, None where ``axis`` cannot tell.

    ``board``: Forget of the scoreboard (median recovery, needs a reference). ``<set>/<metric>``: of a share that has a
    direction (``detector_rate``, ``r_precision_1``, ``ncs@5``) how much of the base's is lost; of another number its
    recovery.
    """
    if axis == BOARD:
        score = scoreboard(results)["forget"]
        return None if score is None else float(score)
    set_, metric = split_axis("forget", axis, FORGET_SIDE)
    value = value_named(metric)
    if value.kind != "share" or value.better == "reference":
        recovered = recoveries(results, set_).get(metric)
        return None if recovered is None else clipped(recovered)
    label = results.context.get("concept", "") if metric == RATE else None
    before, after = (results.get(model, set_, metric, label) for model in ("base", "unlearned"))
    if before is None or after is None or not before.value or not math.isfinite(before.value + after.value):
        return None
    return clipped(1 - after.value / before.value)


def keep_score(results: Results, axis: str) -> float | None:
    """How much of the rest is still there, 0 … 1: one minus the harm of the scoreboard's Keep, or of one metric."""
    harm = harms(results)
    if axis == BOARD:
        return 1 - math.fsum(harm.values()) / len(harm) if harm else None
    _, metric = split_axis("keep", axis, ("retain",))
    if metric not in (known := kept_metrics(results)) and "keep" not in value_named(metric).scores:
        raise ConfigError(f"keep={axis}: expected {BOARD}, or retain/ and one of {', '.join(known)}")
    return None if metric not in harm else 1 - harm[metric]


def split_axis(key: str, axis: str, sets: Sequence[str]) -> tuple[str, str]:
    """Set and metric of ``set/metric``; ConfigError for another form, or a set that this axis does not know."""
    set_, slash, metric = axis.partition("/")
    if not slash or not metric or set_ not in sets:
        raise ConfigError(f"{key}={axis}: expected {BOARD}, or <set>/<metric> with one of the sets {', '.join(sets)}")
    return set_, metric


def choose_axes(runs: Sequence[Run], forget: str | None = None, keep: str | None = None) -> tuple[str, str]:
    """Both axes, the same for all runs so that points can be compared; what the user named is taken as it is.

    Else the first that every measured run has, or that most have, of the numbers that head tables: shares first.
    """
    values = sorted(declared(), key=lambda value: value.kind != "share")
    gone = [f"forget/{v.name.split(' [')[0]}" for v in values if "forget" in v.headline and v.kind == "share"]
    stays = [f"retain/{v.name}" for v in values if "keep" in v.headline]
    measured = [run.results for run in runs if run.results is not None]

    def known(score: Callable[[Results, str], float | None], axes: Sequence[str]) -> str:
        return max(axes, key=lambda axis: sum(score(results, axis) is not None for results in measured))

    return forget or known(forget_score, [gone[0], BOARD, *gone[1:]]), keep or known(keep_score, [*stays, BOARD])


def fronts(lines: Sequence[Line], forget: str, keep: str) -> list[Front]:
    """The front of every task, in the order in which tasks occur; ConfigError for an axis that does not exist."""
    result = []
    for task in dict.fromkeys(line.first.task for line in lines):
        own = tuple(line for line in lines if line.first.task == task)
        points = (_point(line, forget, keep) for line in own)
        result.append(Front(task, own, tuple(point for point in points if point is not None)))
    return result


def _point(line: Line, forget: str, keep: str) -> Point | None:
    """Mean scores over the seeds; None where a seed's are not known."""
    scores = [(forget_score(r, forget), keep_score(r, keep)) for run in line.runs if (r := run.results) is not None]
    known = [(gone, stays) for gone, stays in scores if gone is not None and stays is not None]
    if not known or len(known) < len(scores):
        return None
    return Point(line, *map(fmean, zip(*known, strict=True)))


def not_beaten(points: Sequence[Point]) -> list[Point]:
    """The Pareto front, from least to most forgotten: nobody else is as good in both and better in one."""

    def beats(p: Point, q: Point) -> bool:
        return p.forget >= q.forget and p.keep >= q.keep and (p.forget, p.keep) != (q.forget, q.keep)

    left = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(left, key=lambda point: (point.forget, -point.keep, point.line.first.name))


def knee(front: Sequence[Point]) -> Point | None:
    """The point of the front nearest to "all forgotten, all kept"; of equal ones the quicker run, then by name."""
    if not front:
        return None
    return min(front, key=lambda p: (round(p.distance, 9), p.line.seconds or math.inf, p.line.first.name))
