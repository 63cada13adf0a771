"""What windows of gait look like in numbers a biomechanist reads, for all of them and for each style."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hmu.checks import require
from hmu.gait.rules import RULES, styles
from hmu.gait.statistics import NAMES, statistics
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.values import Value
from hmu.values import Positive


class GaitStatistics(MotionMetric):
    """``speed``, ``cadence``, ``knee_least`` … (:func:`hmu.gait.statistics.statistics`) and ``statistics_gap``.

    Each is given for all windows, and as ``speed/walk`` … for those that the rules of :mod:`hmu.gait.rules` name so;
    NaN where there are none. A set that asks for the concept gives the first alone, one that should be kept each style
    but the concept's. ``statistics_gap`` is the mean over all statistics of ``|mean - real mean| / real standard
    deviation``, real windows of a style by the same rules.
    ``height``: metres of the body whose speeds and step lengths these are.
    """

    inputs: ClassVar[tuple[str, ...]] = ("states",)
    optional: ClassVar[tuple[str, ...]] = ("real_states",)
    values: ClassVar[tuple[Value, ...]] = (
        *(Value(name, better="same") for name in NAMES),
        Value("statistics_gap", better="lower", kind="size"),
    )

    def __init__(self, height: float) -> None:
        super().__init__()
        require("statistics.height", height, Positive)
        self.height, self.given = float(height), ("", *RULES)

    def update(self, samples: EvalSamples) -> None:
        """Add windows; what they are of decides which numbers are given."""
        super().update(samples)
        if "prompts" in samples and "concept" in samples:
            prompts, own = samples["prompts"], samples["prompts"].representation.rule(samples["concept"])
            self.given = ("",) if prompts.asks else tuple(style for style in RULES if style != own)

    def compute(self) -> dict[str, float]:
        """Means over windows by name."""
        ours, means, real = self.per_prompt(), super().compute(), self.rows("real_states")
        if real is not None:
            theirs = by_style(real, self.height)
            for style in dict.fromkeys(_style(name) for name in ours):
                means[_named("statistics_gap", style)] = gap(ours, theirs, style)
        return means

    def per_prompt(self) -> dict[str, Tensor]:
        """Every statistic of every window, NaN where the window is of another style."""
        values = by_style(self.needed("states"), self.height)
        return {name: rows for name, rows in values.items() if _style(name) in self.given}


def by_style(states: Tensor, height: float) -> dict[str, Tensor]:
    """Statistics of windows ``(n, frames, 63)``, each ``(n,)``: ``speed`` of all, ``speed/walk`` of those that walk."""
    values = statistics(states, height)
    by_name = {name: values[name].double() for name in NAMES}
    for style, members in styles(states).items():
        by_name |= {_named(name, style): torch.where(members, values[name].double(), torch.nan) for name in NAMES}
    return by_name


def gap(ours: dict[str, Tensor], theirs: dict[str, Tensor], style: str) -> float:
    """How far the means of a style are from the real ones, in real standard deviations, averaged over statistics.

    A statistic that hardly varies among real windows (a deviation below 1 % of its mean, no flight in walking) would
    count without bound; it is measured against that 1 %, and left out where its real mean is 0.
    """
    off = []
    for name in NAMES:
        own, real = ours[_named(name, style)], theirs[_named(name, style)]
        own, real = own[own.isfinite()], real[real.isfinite()]
        if len(own) and len(real) > 1:
            unit = max(float(real.std()), 0.01 * abs(float(real.mean())))
            if unit > 0:
                off.append(abs(float(own.mean() - real.mean())) / unit)
    return sum(off) / len(off) if off else float("nan")


def _style(name: str) -> str:
    return name.partition("/")[2]


def _named(name: str, style: str) -> str:
    return f"{name}/{style}" if style else name
