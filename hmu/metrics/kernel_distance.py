"""Unbiased kernel distance (KID) between real and generated motion embeddings."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hmu.errors import DataError
from hmu.metrics.base import MotionMetric


def kernel_distance(a: Tensor, b: Tensor, degree: int = 3) -> float:
    """Unbiased squared MMD with the kernel ``(x.y / width + 1)^degree``; ``(n, width)`` and ``(m, width)`` rows.

    Its expectation does not depend on the sample size and is 0 for equal distributions, so it can be slightly negative.
    Source: Binkowski et al., ICLR 2018.
    """
    n, m = len(a), len(b)
    if n < 2 or m < 2:
        raise DataError(f"KID needs at least 2 motions on either side, got {n} and {m}")
    aa, bb, ab = (kernel(x, y, degree) for x, y in ((a, a), (b, b), (a, b)))
    within_a = (aa.sum() - aa.trace()) / (n * (n - 1))
    within_b = (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within_a + within_b - 2 * ab.mean())


def kernel(x: Tensor, y: Tensor, degree: int = 3) -> Tensor:
    """``(x.y / width + 1)^degree`` of all pairs of rows, float64 ``(n, m)``."""
    x, y = x.double(), y.double()
    values: Tensor = (x @ y.T / x.shape[1] + 1) ** degree
    return values


def within(matrix: Tensor, counts: Tensor) -> Tensor:
    """Mean of ``matrix`` ``(n, n)`` over pairs of different rows under weights ``(draws, n)`` -> ``(draws,)``."""
    square, diagonal = counts.square(), matrix.diagonal()
    total = ((counts @ matrix) * counts).sum(1) - square @ diagonal
    mean: Tensor = total / (counts.sum(1).square() - square.sum(1))
    return mean


class KID(MotionMetric):
    """``kernel_distance``: unbiased distance between real and generated embeddings; best for small sets."""

    inputs: ClassVar[tuple[str, ...]] = ("generated", "real")
    direction: ClassVar[str] = "lower"

    def __init__(self, degree: int = 3) -> None:
        super().__init__()
        self.degree = degree

    def compute(self) -> dict[str, float]:
        """``{"kernel_distance": value}``."""
        return {"kernel_distance": kernel_distance(self.needed("real"), self.needed("generated"), self.degree)}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """Under resampling of prompts, real motions with them where they are the same prompts'."""
        real, generated = self.needed("real"), self.needed("generated")
        drawn = counts if len(real) == len(generated) else counts.new_ones(len(counts), len(real))
        across = ((drawn @ kernel(real, generated, self.degree)) * counts).sum(1) / (drawn.sum(1) * counts.sum(1))
        inside = [within(kernel(x, x, self.degree), w) for x, w in ((real, drawn), (generated, counts))]
        return {"kernel_distance": inside[0] + inside[1] - 2 * across}
