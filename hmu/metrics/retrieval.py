"""Does a caption find its motion, and a motion its caption? The protocols of TMR (Petrovich et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.checks import Shuffles, require
from hmu.errors import ConfigError
from hmu.metrics.base import MotionMetric
from hmu.metrics.r_precision import pools
from hmu.metrics.values import Value
from hmu.values import Count, Whole

KS = (1, 2, 3, 5, 10)


def ranks(similarity: Tensor, right: Tensor | None = None, margin: float = 0.0) -> Tensor:
    """0-based rank of the right column in each row ``(rows,)``, float64; columns as near as it share their ranks (x.5).

    Args:
        similarity: ``(rows, columns)``, larger is nearer; the right column of row ``i`` is ``i``.
        right: further right columns, bool ``(rows, columns)``; the best of them and of column ``i`` is ranked.
        margin: similarities that differ by no more than this are equal; 0 as published (exact floats).
    """
    own = similarity.diagonal()
    if right is not None:
        diagonal = torch.eye(*similarity.shape, dtype=torch.bool, device=similarity.device)
        own = similarity.masked_fill(~(right | diagonal), -torch.inf).amax(1)
    nearer = (similarity > own[:, None] + margin).sum(1).double()
    equal = ((similarity - own[:, None]).abs() <= margin).sum(1)
    return nearer + (equal - 1).double() / 2


def recall_scores(rank: Tensor, ks: Sequence[int] = KS) -> dict[str, float]:
    """``R01`` … in percent (a rank below k is a hit) and ``MedR`` = median + 1, of 0-based ranks ``(rows,)``."""
    scores = {f"R{k:02d}": 100 * float((rank < k).double().mean()) for k in ks}
    return {**scores, "MedR": float(rank.double().quantile(0.5)) + 1}


def retrieval_scores(
    similarity: Tensor, right: Tensor | None = None, ks: Sequence[int] = KS, margin: float = 0.0
) -> dict[str, float]:
    """Both directions of one gallery: ``t2m/R01`` …, ``m2t/R01`` …, ``…/MedR`` and ``…/len``.

    ``similarity`` ``(texts, motions)``; ``right``: captions that mean the same, symmetric bool ``(n, n)``.
    """
    scores: dict[str, float] = {}
    for name, matrix in (("t2m", similarity), ("m2t", similarity.mT)):
        recalls = recall_scores(ranks(matrix, right, margin=margin), ks)
        scores |= {f"{name}/{key}": value for key, value in recalls.items()} | {f"{name}/len": float(len(matrix))}
    return scores


def mean_scores(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every key over galleries."""
    return {key: sum(scores[key] for scores in each) / len(each) for key in each[0]}


def same_meaning(sentences: Tensor, threshold: float) -> Tensor:
    """Captions that mean the same: unit rows ``(n, width)`` with ``cosine > 2 threshold - 1``, bool ``(n, n)``."""
    return sentences @ sentences.mT > 2 * threshold - 1


def dissimilar(sentences: Tensor, count: int) -> Tensor:
    """Rows that are as unlike each other as can be found greedily, ``(count,)`` sorted.

    The first is the row least like the mean of all; each next one has the smallest largest cosine to those chosen.
    The published subset (``nsim_test``) is one fixed list of 100 clips; this one is drawn from any set.
    """
    picked = [int((sentences @ sentences.mean(0)).argmin())]
    closest = sentences @ sentences[picked[0]]
    while len(picked) < min(count, len(sentences)):
        closest[picked[-1]] = torch.inf
        picked.append(int(closest.argmin()))
        closest = torch.maximum(closest, sentences @ sentences[picked[-1]])
    return torch.tensor(sorted(picked))


class Retrieval(MotionMetric):
    """Recalls and median rank of text-to-motion and motion-to-text retrieval by cosine.

    Values are named ``retrieval_<protocol>/t2m/R01`` … and depend on neither batch size nor order.

    Args:
        protocol: ``all``: among the whole set; ``small``: in pools of ``count``, mean over ``shuffles`` of them.
        count, shuffles, seed: of the protocol ``small``; what fills no pool is left out. None for the other.
        ks: recalls to report.
    """

    inputs: ClassVar[tuple[str, ...]] = ("generated", "text")
    values: ClassVar[tuple[Value, ...]] = (
        Value("retrieval_*/t2m/R*", "Text to motion R@{1}, {0}", "higher", kind="size"),  # in percent already
        Value("retrieval_*/m2t/R*", "Motion to text R@{1}, {0}", "higher", kind="size"),
        Value("retrieval_*/t2m/MedR", "Text to motion median rank, {0}", "lower", kind="size"),
        Value("retrieval_*/m2t/MedR", "Motion to text median rank, {0}", "lower", kind="size"),
    )
    protocols: ClassVar[tuple[str, ...]] = ("all", "small")

    def __init__(
        self, protocol: str, ks: Sequence[int], count: int | None, shuffles: int | None, seed: int = 0
    ) -> None:
        super().__init__()
        if protocol not in self.protocols:
            raise ConfigError(f"retrieval: protocol is '{protocol}'; expected one of {', '.join(self.protocols)}")
        if count is not None or protocol in ("small", "nsim"):
            require("retrieval.count", count, Annotated[int, ">= 2"])
        if shuffles is not None or protocol == "small":
            require("retrieval.shuffles", shuffles, Shuffles)
        require("retrieval.seed", seed, Whole)
        if not ks:
            raise ConfigError("retrieval.ks=[]: expected at least one number")
        for k in ks:
            require("retrieval.ks", k, Count)
        self.protocol, self.count, self.shuffles, self.seed, self.ks = protocol, count, shuffles, seed, tuple(ks)

    def compute(self) -> dict[str, float]:
        """``{"retrieval_<protocol>/<direction>/<key>": value}``, recalls in percent."""
        similarity, right = self.similarity(), self.right()
        parts = [(similarity[i][:, i], None if right is None else right[i][:, i]) for i in self.galleries()]
        # float64 cosines of equal embeddings differ in the last digits only
        scores = mean_scores([retrieval_scores(*part, self.ks, margin=1e-10) for part in parts])
        own = {name: value for name, value in scores.items() if not name.endswith("/len")}  # a count is no score
        return {f"retrieval_{self.protocol}/{name}": value for name, value in own.items()}

    def similarity(self) -> Tensor:
        """Cosines ``(texts, motions)`` in float64."""
        text, motion = (F.normalize(self.needed(name), dim=-1) for name in ("text", "generated"))
        return text @ motion.mT

    def right(self) -> Tensor | None:
        """Pairs that count as hits besides a caption's own motion, bool ``(n, n)``."""
        return None

    def galleries(self) -> list[Tensor]:
        """Rows of each gallery, int64 ``(size,)``."""
        size = self.count if self.protocol == "small" else None
        return list(pools(len(self.needed("text")), size, self.shuffles or 1, self.seed))


class SentenceRetrieval(Retrieval):
    """As :class:`Retrieval`, with the protocols that look at what captions mean.

    Args:
        protocol: ``threshold``: among the whole set, any motion whose caption means the same counts; ``nsim``: among
            ``count`` captions that are unlike each other.
        threshold: two captions mean the same if their sentence cosine exceeds ``2 threshold - 1`` (published 0.95).
        count: of the protocol ``nsim`` (published 100); None for the other, as ``threshold`` for this one.
        ks: recalls to report.
    """

    inputs: ClassVar[tuple[str, ...]] = ("generated", "text", "sentence")
    protocols: ClassVar[tuple[str, ...]] = ("threshold", "nsim")

    def __init__(self, protocol: str, ks: Sequence[int], count: int | None, threshold: float | None) -> None:
        super().__init__(protocol, ks, count if protocol == "nsim" else None, shuffles=None)
        if threshold is not None or protocol == "threshold":
            require("retrieval.threshold", threshold, Annotated[float, "> 0, <= 1"])
        self.threshold = threshold if protocol == "threshold" else None

    def right(self) -> Tensor | None:
        """Captions that mean the same, where the protocol counts them."""
        return None if self.threshold is None else same_meaning(self._sentences(), self.threshold)

    def galleries(self) -> list[Tensor]:
        """Rows ``(size,)`` of the whole set, or of its captions that are unlike each other."""
        sentences = self._sentences()
        return [torch.arange(len(sentences)) if self.count is None else dissimilar(sentences, self.count)]

    def _sentences(self) -> Tensor:
        return F.normalize(self.needed("sentence"), dim=-1)
