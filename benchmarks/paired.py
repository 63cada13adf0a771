"""Timing of pairs that compute the same thing, interleaved, told as ratios."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """Two ways to one result.

    Attributes:
        name: what differs.
        ours, plain: compute it; each returns the tensors that must agree (or nothing to compare).
        tolerance: largest absolute difference between them; None where they only do equal work.
    """

    name: str
    ours: Callable[[], Sequence[Tensor]]
    plain: Callable[[], Sequence[Tensor]]
    tolerance: float | None = 1e-4


@dataclass
class Timing:
    """Seconds of one pair, run by run: wall clock and processor time."""

    name: str
    ours: list[tuple[float, float]] = field(default_factory=list)
    plain: list[tuple[float, float]] = field(default_factory=list)

    def ratio(self, clock: int = 0) -> float:
        """Median of plain over median of ours: above 1, ours is faster. Clock 0 is the wall's, 1 the processor's."""
        return statistics.median(t[clock] for t in self.plain) / statistics.median(t[clock] for t in self.ours)

    def spread(self, clock: int = 0) -> tuple[float, float]:
        """Smallest and largest ratio of two neighbouring runs."""
        ratios = [p[clock] / o[clock] for o, p in zip(self.ours, self.plain, strict=True)]
        return min(ratios), max(ratios)


def agree(pair: Pair) -> None:
    """Run both once (the warm-up) and compare.

    Raises:
        AssertionError: they differ by more than the tolerance, so their times must not be compared.
    """
    results = list(pair.ours()), list(pair.plain())
    if pair.tolerance is None:
        return
    assert len(results[0]) == len(results[1]), f"{pair.name}: {len(results[0])} against {len(results[1])} results"
    for ours, plain in zip(*results, strict=True):
        assert ours.shape == plain.shape, f"{pair.name}: shapes {tuple(ours.shape)} and {tuple(plain.shape)}"
        worst = float((ours - plain).abs().max()) if ours.numel() else 0.0
        assert worst <= pair.tolerance, f"{pair.name}: the two ways differ by {worst:.2e}, allowed {pair.tolerance:.0e}"


def measure(pairs: Sequence[Pair], repeats: int, warm_up: bool = True) -> list[Timing]:
    """Time every pair ``repeats`` times, interleaved: what disturbs the machine disturbs both sides alike.

    Without ``warm_up`` nothing is compared and the first run counts: the caller has warmed up otherwise.
    """
    timings = [Timing(pair.name) for pair in pairs]
    for pair in pairs if warm_up else ():
        agree(pair)
    for repeat in range(repeats):
        for pair, timing in zip(pairs, timings, strict=True):
            sides = [(pair.ours, timing.ours), (pair.plain, timing.plain)]
            for run, times in sides if repeat % 2 == 0 else sides[::-1]:  # neither side always goes first
                wall, processor = time.perf_counter(), time.process_time()
                run()
                times.append((time.perf_counter() - wall, time.process_time() - processor))
    return timings


def arguments(description: str, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with ``--repeats`` and ``--threads``, and one option per default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in {"repeats": 7, "threads": 1, **defaults}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=value, type=type(value))
    return parser


def report(title: str, timings: Sequence[Timing], **facts: object) -> str:
    """Print and return the table: ratios of medians, never bare seconds (a busy machine makes those meaningless)."""
    n = len(timings[0].ours)
    told = {"n": n, "threads": torch.get_num_threads(), "torch": torch.__version__, "python": platform.python_version()}
    lines = [f"{title} ({', '.join(f'{k} {v}' for k, v in {**told, **facts}.items())})", ""]
    lines += ["| plain / ours | ratio of medians | processor time | smallest to largest pair |", "|---|--:|--:|--:|"]
    for timing in timings:
        low, high = timing.spread()
        lines.append(f"| {timing.name} | {timing.ratio():.2f} | {timing.ratio(1):.2f} | {low:.2f} to {high:.2f} |")
    text = "\n".join(lines)
    print(text)
    return text
