"""Fréchet distance between real and generated motion embeddings."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hmu.errors import DataError
from hmu.metrics.base import MotionMetric


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
    only rounding can bring it. Source: Heusel et al. 2017, eq. 6; Dowson and Landau 1982.
    """
    cov_a, cov_b = torch.atleast_2d(cov_a.double()), torch.atleast_2d(cov_b.double())
    cross = torch.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b)).sum()
    shift = (mean_a.double() - mean_b.double()).square().sum()
    return max(0.0, float(shift + cov_a.trace() + cov_b.trace() - 2 * cross))


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
    direction: ClassVar[str] = "lower"

    def compute(self) -> dict[str, float]:
        """``{"fid": value}``."""
        return {"fid": frechet_distance(*gaussian(self.needed("real")), *gaussian(self.needed("generated")))}
