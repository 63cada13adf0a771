"""How far apart motions of different prompts are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hmu.checks import require
from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value
from hmu.values import Count, Whole

MANY = 2000  #: rows above which a bootstrap looks at ten times as many pairs, not at all of them


def pair_distance(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean distance between rows ``first[i]`` and ``second[i]``, ``(..., n, width) -> (...)``.

    Source: Guo et al., CVPR 2022; for multimodality the same pairs of repeats for every prompt.
    """
    rows = rows.double()
    mean: Tensor = (rows[..., first, :] - rows[..., second, :]).norm(dim=-1).mean(-1)
    return mean


def check_pairs(metric: str, pairs: int | None, seed: int) -> None:
    """Refuse impossible arguments of a metric that draws pairs."""
    require(f"{metric}.pairs", pairs, Count | None)
    require(f"{metric}.seed", seed, Whole)


def draw_pairs(count: int, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two independent draws of ``min(pairs, count)`` rows without repetition; a pair may coincide (published)."""
    pairs = min(pairs, count)
    first, second = (torch.randperm(count, generator=generator)[:pairs] for _ in range(2))
    return first, second


def mean_distance(rows: Tensor) -> Tensor:
    """Mean distance over all pairs of different rows, ``(..., n, width) -> (...,)``: what a draw of pairs estimates."""
    count = rows.shape[-2]
    total: Tensor = _all_distances(rows).sum((-1, -2))
    return total / (count * (count - 1))


def _resampled(rows: Tensor, counts: Tensor) -> Tensor:
    """Mean distance of different rows under weights ``(draws, n)``, ``(draws,)``; of many rows over some pairs only."""
    if len(rows) <= MANY:
        return _within(_all_distances(rows), counts)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(10)]) for _ in range(2))
    weights = counts[:, first] * counts[:, second] * (first != second)
    mean: Tensor = weights @ (rows[first] - rows[second]).norm(dim=-1) / weights.sum(1)
    return mean


def _within(matrix: Tensor, counts: Tensor) -> Tensor:
    """Mean of ``matrix`` ``(n, n)`` over pairs of different rows under weights ``(draws, n)`` -> ``(draws,)``."""
    square, diagonal = counts.square(), matrix.diagonal()
    total = ((counts @ matrix) * counts).sum(1) - square @ diagonal
    mean: Tensor = total / (counts.sum(1).square() - square.sum(1))
    return mean


def _all_distances(rows: Tensor) -> Tensor:
    rows = rows.double()
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


class Diversity(MotionMetric):
    """``diversity``, and ``diversity_real`` where real motions are given: mean distance between motions of a set.

    Args:
        pairs: number of random pairs (published: 300); None = all pairs, which has no random part.
        seed: of the draw.
    """

    inputs: ClassVar[tuple[str, ...]] = ("generated",)
    optional: ClassVar[tuple[str, ...]] = ("real",)
    values: ClassVar[tuple[Value, ...]] = (
        Value("diversity", better="same", kind="size", scores=("keep",)),
        Value("diversity_real", "Diversity of real clips", kind="size"),
    )

    def __init__(self, pairs: int | None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_pairs("diversity", pairs, seed)
        self.pairs, self.seed = pairs, seed

    def compute(self) -> dict[str, float]:
        """``{"diversity": mean distance, "diversity_real": ...}``; NaN for fewer than two motions."""
        return {name: self._value(rows) for name, rows in self._sides().items()}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """Mean over all pairs of different prompts under resampling (a draw of pairs estimates the same)."""
        sides = self._sides().items()
        return {name: _resampled(rows, counts) for name, rows in sides if len(rows) == counts.shape[1] > 1}

    def _sides(self) -> dict[str, Tensor]:
        sides = {"diversity": self.needed("generated"), "diversity_real": self.rows("real")}
        return {name: rows for name, rows in sides.items() if rows is not None}

    def _value(self, rows: Tensor) -> float:
        if len(rows) < 2:
            return float("nan")
        if self.pairs is None:
            return float(mean_distance(rows))
        generator = torch.Generator().manual_seed(self.seed)
        return float(pair_distance(rows, *draw_pairs(len(rows), self.pairs, generator)))
