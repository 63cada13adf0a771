"""Unbiased kernel distance (KID) between real and generated motion embeddings."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hmu.checks import require
from hmu.errors import DataError
from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value

BLOCK = 2048  #: rows whose kernel is computed at once


def kernel_distance(a: Tensor, b: Tensor, degree: int = 3) -> float:
    """Unbiased squared MMD with the kernel ``(x.y / width + 1)^degree``; ``(n, width)`` and ``(m, width)`` rows.

    Its expectation does not depend on the sample size and is 0 for equal distributions, so it can be slightly negative.
    DataError for fewer than 2 rows on either side. Source: Binkowski et al., ICLR 2018.
    """
    if len(a) < 2 or len(b) < 2:
        raise DataError(f"KID needs at least 2 motions on either side, got {len(a)} and {len(b)}")
    once = [torch.ones(1, len(x), dtype=torch.float64, device=x.device) for x in (a, b)]
    return float(weighted_kernel_distance(a, b, once[0], once[1], degree))


def weighted_kernel_distance(a: Tensor, b: Tensor, left: Tensor, right: Tensor, degree: int = 3) -> Tensor:
    """:func:`kernel_distance` of rows drawn ``left`` ``(draws, n)`` and ``right`` ``(draws, m)`` times -> ``(draws,)``.

    A row and itself, also drawn twice, are no pair of different rows.
    """
    across = _sum(a, b, left, right, degree) / (left.sum(1) * right.sum(1))
    inside = []
    for x, counts in ((a, left), (b, right)):
        square = counts.square()
        itself = square @ (x.double().square().sum(1) / x.shape[1] + 1) ** degree
        inside.append((_sum(x, x, counts, counts, degree) - itself) / (counts.sum(1).square() - square.sum(1)))
    return inside[0] + inside[1] - 2 * across


def _sum(x: Tensor, y: Tensor, left: Tensor, right: Tensor, degree: int) -> Tensor:
    """Kernel of all pairs of rows, weighted and summed ``(draws,)``: some rows of ``x`` at a time, to bound memory."""
    y = y.double()
    total = left.new_zeros(len(left))
    for rows, weights in zip(x.double().split(BLOCK), left.split(BLOCK, 1), strict=True):
        total = total + ((weights @ (rows @ y.T / y.shape[1] + 1) ** degree) * right).sum(1)
    return total


class KID(MotionMetric):
    """``kernel_distance``: unbiased distance between real and generated embeddings; best for small sets."""

    inputs: ClassVar[tuple[str, ...]] = ("generated", "real")
    values: ClassVar[tuple[Value, ...]] = (Value("kernel_distance", better="lower", kind="unbiased"),)

    def __init__(self, degree: int) -> None:
        super().__init__()
        require("kernel_distance.degree", degree, Annotated[int, ">= 1, <= 9"])
        self.degree = degree

    def compute(self) -> dict[str, float]:
        """``{"kernel_distance": value}``."""
        return {"kernel_distance": kernel_distance(self.needed("real"), self.needed("generated"), self.degree)}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """Under resampling of prompts, real motions with them where they are the same prompts'."""
        real, generated = self.needed("real"), self.needed("generated")
        drawn = counts if len(real) == len(generated) else counts.new_ones(len(counts), len(real))
        return {"kernel_distance": weighted_kernel_distance(real, generated, drawn, counts, self.degree)}
