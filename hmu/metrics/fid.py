"""Fréchet distance between real and generated motion embeddings."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hmu.errors import DataError
from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value

BUDGET, FEWEST = 20_000_000_000, 20  #: multiplications spent on the draws of one bootstrap, and the fewest draws


def gaussian(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(width,)`` and covariance ``(width, width)`` (divisor n - 1) of ``(n, width)`` rows, in float64."""
    if len(rows) < 2:
        raise DataError(f"FID needs at least 2 motions on either side, got {len(rows)}")
    rows = rows.double()
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """``|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2))``.

    With ``A = F F'``, ``B = G G'`` from eigen-decompositions the last trace is the sum of the singular values of
    ``F' G``: exact for singular covariances too, no matrix square root, never complex. Clipped at 0 from below, where
    only rounding can bring it. Means ``(width,)``, covariances ``(width, width)``.
    Source: Heusel et al. 2017, eq. 6; Dowson and Landau 1982.
    """
    cov_a, cov_b = torch.atleast_2d(cov_a.double()), torch.atleast_2d(cov_b.double())
    cross = torch.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b)).sum()
    shift = (mean_a.double() - mean_b.double()).square().sum()
    return max(0.0, float(shift + cov_a.trace() + cov_b.trace() - 2 * cross))


def weighted_frechet(real: Tensor, generated: Tensor, drawn: Tensor, counts: Tensor) -> Tensor:
    """:func:`frechet_distance` of rows ``(n, width)`` drawn ``(draws, n)`` times each -> ``(draws,)``.

    The trace is the sum of the roots of the eigenvalues of a symmetric matrix whose size is the smaller of rows and
    width: less exact than singular values (about 1e-6 of the value), which a bootstrap does not notice, but faster.
    """
    values = []
    for a, b in zip(drawn, counts, strict=True):
        shift, traces, rows = [], [], []
        for x, w in ((real.double(), a), (generated.double(), b)):
            used = w > 0
            x, w = x[used], w[used]
            mean = w @ x / w.sum()
            rows.append((x - mean) * (w / (w.sum() - 1)).sqrt()[:, None])
            shift.append(mean)
            traces.append(rows[-1].square().sum())
        values.append((shift[0] - shift[1]).square().sum() + traces[0] + traces[1] - 2 * _nuclear(rows[0], rows[1]))
    return torch.stack(values).clamp_min(0)


def _nuclear(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the singular values of ``a b'`` for ``a`` ``(n, width)``, ``b`` ``(m, width)``."""
    if min(len(a), len(b)) < a.shape[1]:
        a, b = (a, b) if len(a) <= len(b) else (b, a)
        cross = a @ b.T
        gram = cross @ cross.T
    else:
        root = _factor(a.T @ a)
        gram = root.T @ (b.T @ b) @ root
    total: Tensor = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
    return total


def _factor(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    factor: Tensor = vectors * values.clamp_min(0).sqrt()
    return factor


class FID(MotionMetric):
    """``fid``: distance between the Gaussians of real and generated embeddings, in squared embedding units.

    Biased upwards by few samples: compare only at equal ``n``, and read :class:`~hmu.metrics.kernel_distance.KID`
    beside it where ``n`` is below about five times the width.
    """

    inputs: ClassVar[tuple[str, ...]] = ("generated", "real")
    values: ClassVar[tuple[Value, ...]] = (
        Value("fid", "FID", "lower", kind="size", scores=("forget", "keep"), headline=("forget", "keep")),
    )

    def compute(self) -> dict[str, float]:
        """``{"fid": value}``."""
        return {"fid": frechet_distance(*gaussian(self.needed("real")), *gaussian(self.needed("generated")))}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """Under resampling of prompts, real motions with them where they are the same prompts'.

        Large sets take fewer draws, which then stand for the others too. Rows drawn twice make every draw look larger
        than the value itself: only differences between draws mean something.
        """
        real, generated = self.needed("real"), self.needed("generated")
        drawn = counts if len(real) == len(generated) else counts.new_ones(len(counts), len(real))
        width = real.shape[1]
        work = 2 * len(generated) * width**2 + 10 * width**3  # of one draw, in multiplications
        few = min(len(counts), max(FEWEST, BUDGET // work))
        values = weighted_frechet(real, generated, drawn[:few], counts[:few])
        return {"fid": values.repeat(-(-len(counts) // few))[: len(counts)]}
