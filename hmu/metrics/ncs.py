"""Nearest-concept score: how soon does a retrieval gallery answer a motion with the concept's words? (HMU)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

KS = (1, 2, 3, 5, 10)


def concept_rank(descriptions: Sequence[str], keywords: Sequence[str]) -> int:
    """1 + index of the first description that holds any keyword (case-sensitive substring), else their number + 1."""
    hits = (i for i, text in enumerate(descriptions) if any(word in text for word in keywords))
    return 1 + next(hits, len(descriptions))


def _scores(ranks: Sequence[int]) -> dict[str, float]:
    shares = {f"ncs@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in KS}
    return {**shares, "mean_rank": statistics.fmean(ranks), "median_rank": float(statistics.median(ranks))}


def ncs_compute(records: Sequence[Mapping[str, Any]], keywords: Sequence[str]) -> dict[str, float]:
    """NCS of retrieval records, as HMU's ``ncs_compute.py`` (measured).

    Per repeat the best rank of each name; ``ncs@k`` is the share of names with rank <= k; means over repeats,
    ``conf/*`` = 1.96 sd / sqrt(repeats) (NaN for one repeat); ``min_*`` take the best rank over all repeats first;
    ``forget_size`` counts the names of the last repeat.

    Args:
        records: each with ``name``, ``repeat`` and ``retrieval`` (a list of ``{"description": ...}``, best first).
        keywords: the concept's words.
    """
    best: dict[Any, dict[str, int]] = {}
    for record in records:
        rank = concept_rank([item["description"] for item in record["retrieval"]], keywords)
        ranks = best.setdefault(record["repeat"], {})
        ranks[record["name"]] = min(rank, ranks.get(record["name"], rank))
    repeats = [best[repeat] for repeat in sorted(best)]
    scores = [_scores(list(ranks.values())) for ranks in repeats]
    result: dict[str, float] = {"forget_size": float(len(repeats[-1]))}
    for key in scores[0]:
        values = [score[key] for score in scores]
        result[key] = statistics.fmean(values)
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        result[f"conf/{key}"] = 1.96 * deviation / math.sqrt(len(values))
    least: dict[str, int] = {}
    for ranks in repeats:
        for name, rank in ranks.items():
            least[name] = min(rank, least.get(name, rank))
    overall = _scores(list(least.values()))
    result.update({f"min_{key}": overall[key] for key in overall if key.startswith("ncs")})
    result.update(min_rank=overall["mean_rank"], min_median_rank=overall["median_rank"])
    return result
