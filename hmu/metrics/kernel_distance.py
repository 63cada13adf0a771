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
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** degree

    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    within_a = (aa.sum() - aa.trace()) / (n * (n - 1))
    within_b = (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within_a + within_b - 2 * ab.mean())


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
