"""Which codes belong to a concept: counts of both sides, and scores that compare them.

A code is counted once per row (clip) that contains it, so that a clip which repeats a movement weighs no more than one
that shows it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmu.methods.codebook.table import NONE, Codes

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]
TINY = 1e-8  # the published guard against division by zero


@dataclass(frozen=True)
class Usage:
    """How often each code of one layer is used.

    Attributes:
        forget, rest: rows that contain the code ``(codes,)``.
        forget_rows, rest_rows: rows with any code.
        forget_tokens, rest_tokens: occurrences of the code ``(codes,)``.
    """

    forget: Counts
    rest: Counts
    forget_rows: int
    rest_rows: int
    forget_tokens: Counts
    rest_tokens: Counts

    def share(self, codes: Sequence[int]) -> dict[str, float]:
        """Share of the tokens of either side that ``codes`` carry."""
        rows = sorted(set(codes))
        sides = {"forget": self.forget_tokens, "retain": self.rest_tokens}
        return {side: float(tokens[rows].sum() / max(1, tokens.sum())) for side, tokens in sides.items()}


def usage(codes: Codes, forget: NDArray[np.bool_], count: int) -> Usage:
    """Counts of one layer.

    Args:
        codes: ``(rows, tokens)``, -1 for none.
        forget: which rows are of the forget side ``(rows,)``; the others are of the retain side.
        count: codes of the codebook.
    """
    ours, rest = codes[forget], codes[~forget]
    rows, others = (int((side != NONE).any(1).sum()) for side in (ours, rest))
    return Usage(presence(ours, count), presence(rest, count), rows, others, tokens(ours, count), tokens(rest, count))


def presence(codes: Codes, count: int) -> Counts:
    """Rows of ``codes`` ``(rows, tokens)`` that contain each code ``(count,)``."""
    keys = np.arange(len(codes), dtype=np.int64)[:, None] * count + codes
    return np.bincount(np.unique(keys[codes != NONE]) % count, minlength=count)


def tokens(codes: Codes, count: int) -> Counts:
    """Occurrences of each code ``(count,)``."""
    return np.bincount(codes[codes != NONE].astype(np.int64), minlength=count)


def log_odds(counts: Usage, prior: float) -> tuple[Scores, Scores]:
    """Smoothed log-odds ratio of a clip of either side containing each code, and its z-score, both ``(codes,)``.

    Both sides are credited with ``prior`` further rows in which a code is as frequent as in all the data: the
    informative Dirichlet prior of Monroe, Colaresi and Quinn, "Fightin' Words" (2008), for rows with and without
    the code. Above 0 = more frequent on the forget side; a code seen nowhere has 0.
    """
    total = counts.forget_rows + counts.rest_rows
    expected = prior * (counts.forget + counts.rest) / max(1, total)
    floor = np.finfo(float).tiny

    def odds(containing: Counts, rows: int) -> Scores:
        with_code, without = containing + expected, rows - containing + (prior - expected)
        result: Scores = np.log(np.maximum(with_code, floor)) - np.log(np.maximum(without, floor))
        return result

    used = counts.forget + counts.rest > 0
    ratio = np.where(used, odds(counts.forget, counts.forget_rows) - odds(counts.rest, counts.rest_rows), 0.0)
    spread = np.sqrt(1 / np.maximum(counts.forget + expected, floor) + 1 / np.maximum(counts.rest + expected, floor))
    return ratio, np.where(used, ratio / spread, 0.0)


def best(scores: Scores, k: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
    """The ``k`` codes of highest score, best first; of equal ones the smaller index. ``allowed`` is ``(codes,)``."""
    order = np.argsort(-scores, kind="stable")
    if allowed is not None:
        order = order[allowed[order]]
    return [int(code) for code in order[:k]]


# -- as published ------------------------------------------------------------------------------------------------------
def published_ratios(counts: Usage) -> tuple[Scores, Scores]:
    """``f / (g + 1e-8)``, and ``(f / F) / (g / G)`` with the same guards and ``F``, ``G`` the sums of the counts.

    Up to the guards both order the codes alike.
    """
    f, g = counts.forget.astype(float), counts.rest.astype(float)
    return f / (g + TINY), (f / (f.sum() + TINY)) / (g / (g.sum() + TINY) + TINY)


def published_choice(counts: Usage, k: int) -> list[int]:
    """Union of the ``k`` best of both ratios, ascending; ties by index (the published sort leaves them to chance)."""
    return sorted({code for scores in published_ratios(counts) for code in best(scores, k)})
