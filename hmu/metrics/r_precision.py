"""Does a prompt find its own motion among others?"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hmu.checks import Shuffles, require
from hmu.metrics.base import MotionMetric, log
from hmu.metrics.values import Value
from hmu.values import Count, Whole

_TIE = 1e-10


def top_hits(text: Tensor, motion: Tensor, top: int = 3) -> Tensor:
    """Chance that row ``i`` of the motions is among the ``k`` nearest to text ``i``, ``(..., n, top)`` for k = 1..top.

    Rows ``(..., n, width)``, Euclidean distance in float64. Motions at equal distance share their ranks: a collapsed
    model, whose motions are all alike, scores ``k / n`` and not 1.
    """
    text, motion = text.double(), motion.double()
    squares = text.square().sum(-1)[..., :, None] + motion.square().sum(-1)[..., None, :]
    squared = squares - 2 * text @ motion.mT
    own = squared.diagonal(dim1=-2, dim2=-1)[..., None]
    margin = _TIE * squares.clamp_min(1)
    nearer = (squared < own - margin).sum(-1)
    equal = ((squared - own).abs() <= margin).sum(-1).clamp_min(1)
    ks = torch.arange(1, top + 1, device=text.device)
    return ((ks - nearer[..., None]).double() / equal[..., None]).clamp(0, 1)


def r_precision(
    text: Tensor, motion: Tensor, pool: int | None = 32, top: int = 3, shuffles: int = 1, seed: int = 0
) -> Tensor:
    """Share of prompts whose motion is among the ``k`` nearest of their pool, ``(top,)`` for k = 1..top.

    Args:
        text, motion: row-aligned embeddings ``(n, width)``.
        pool: prompts per pool, drawn by a seeded shuffle; the rest that fills no pool is left out. None = all in one.
        top: largest k.
        shuffles: the result is the mean over so many shuffles.
        seed: of the shuffles.

    Source: Guo et al., CVPR 2022 (pools of 32, distances from each text to the motions).
    """
    hits, _ = pooled_hits(text, motion, pool, top, shuffles, seed)
    return hits.mean((0, 1))


def pooled_hits(
    text: Tensor, motion: Tensor, pool: int | None, top: int, shuffles: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Hits ``(pools, size, top)`` of :func:`r_precision`, and whose they are: prompts int64 ``(pools, size)``."""
    index = pools(len(text), pool, shuffles, seed).to(text.device)
    return top_hits(text[index], motion[index], top), index


def pools(count: int, size: int | None, shuffles: int, seed: int) -> Tensor:
    """``count`` rows divided at random into pools, ``shuffles`` times, int64 ``(pools, size)``.

    What fills no pool is left out; fewer rows than ``size``, or None, make one pool of all, in their order.
    """
    if size is None or size >= count:
        return torch.arange(count)[None]
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(count, generator=generator)[: count // size * size] for _ in range(shuffles)]
    return torch.cat(orders).reshape(-1, size)


class RPrecision(MotionMetric):
    """``r_precision_1`` ... ``r_precision_3`` in pools of 32, or ``r_precision_all_1`` ... among the whole set.

    The ceiling is below 1 wherever prompts repeat or mean the same; compare with real motions of the same prompts.
    """

    inputs: ClassVar[tuple[str, ...]] = ("generated", "text")
    values: ClassVar[tuple[Value, ...]] = (
        Value(
            "r_precision_1", "R-precision @1", "higher", kind="share",
            scores=("forget", "keep"), headline=("forget", "keep"),
        ),
        Value("r_precision_all_*", "R-precision among all @{}", "higher", kind="share"),
        Value("r_precision_*", "R-precision @{}", "higher", kind="share"),
    )  # fmt: skip

    def __init__(self, pool: int | None, top: int, shuffles: int, seed: int = 0) -> None:
        super().__init__()
        if pool is not None:
            require("r_precision.pool", pool, Annotated[int, ">= 2"])
        require("r_precision.top", top, Count if pool is None else Annotated[int, f">= 1, <= {pool}"])
        require("r_precision.shuffles", shuffles, Shuffles)
        require("r_precision.seed", seed, Whole)
        self.pool, self.top, self.shuffles, self.seed = pool, top, shuffles, seed

    def compute(self) -> dict[str, float]:
        """``{"r_precision_<k>": share}``; fewer prompts than a pool make one smaller, easier pool (logged)."""
        text, motion = self.needed("text"), self.needed("generated")
        if self.pool is not None and len(text) < self.pool:
            # the same words for every set, model and repeat: the console says them once
            log.warning(
                "R-precision of sets with fewer than %d prompts is ranked in one smaller, easier pool", self.pool
            )
        shares = r_precision(text, motion, self.pool, self.top, self.shuffles, self.seed)
        return dict(zip(self.names(), shares.tolist(), strict=True))

    def names(self) -> list[str]:
        """``r_precision_1`` …"""
        return [f"{self._name}_{k}" for k in range(1, self.top + 1)]

    @property
    def _name(self) -> str:
        return "r_precision_all" if self.pool is None else "r_precision"

    def per_prompt(self) -> dict[str, Tensor]:
        """Every prompt's chance of a hit in its pools, NaN where it fell into none."""
        text, motion = self.needed("text"), self.needed("generated")
        hits, index = pooled_hits(text, motion, self.pool, self.top, self.shuffles, self.seed)
        total = hits.new_zeros(len(text), self.top).index_add(0, index.flatten(), hits.flatten(0, 1))
        share = total / torch.bincount(index.flatten(), minlength=len(text))[:, None]
        return dict(zip(self.names(), share.T, strict=True))
