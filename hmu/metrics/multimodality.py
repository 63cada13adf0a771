"""How far apart several motions of one prompt are."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hmu.metrics.base import MotionMetric
from hmu.metrics.diversity import check_pairs, draw_pairs, mean_distance, pair_distance
from hmu.metrics.values import Value


class MultiModality(MotionMetric):
    """``multimodality``: mean distance between motions of the same prompt.

    Args:
        pairs: random pairs of repeats, shared by all prompts (published: 10 of 30; a motion may meet itself, which
            lowers the expectation by the factor ``1 - 1 / repeats``). None = all pairs of different repeats.
        seed: of the draw.
    """

    inputs: ClassVar[tuple[str, ...]] = ("repeats",)
    values: ClassVar[tuple[Value, ...]] = (Value("multimodality", kind="size"),)

    def __init__(self, pairs: int | None, seed: int = 0) -> None:
        super().__init__()
        check_pairs("multimodality", pairs, seed)
        self.pairs, self.seed = pairs, seed

    def per_prompt(self) -> dict[str, Tensor]:
        """Spread of every prompt's motions; NaN with a single repeat."""
        rows = self.needed("repeats")
        if rows.shape[1] < 2:
            return {"multimodality": torch.full((len(rows),), float("nan"), dtype=torch.float64)}
        if self.pairs is None:
            return {"multimodality": mean_distance(rows)}
        generator = torch.Generator().manual_seed(self.seed)
        return {"multimodality": pair_distance(rows, *draw_pairs(rows.shape[1], self.pairs, generator))}
