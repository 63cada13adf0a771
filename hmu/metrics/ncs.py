"""Nearest-concept score: how soon does a retrieval gallery answer a motion with the concept's words? (HMU)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hmu.documents import read_json, write_json
from hmu.errors import DataError
from hmu.metrics.values import Value

KS = (1, 2, 3, 5, 10)
Record = Mapping[str, Any]
VALUES = (
    Value("ncs@5", "NCS @5", "lower", "lower", kind="share", scores=("forget",)),
    Value("ncs@*", "NCS @{}", "lower", "lower", kind="share"),
    Value("min_ncs@*", "NCS, best repeat @{}", "lower", "lower", kind="share"),
    *(Value(f"{best}{name}_rank", kind="size") for best in ("", "min_") for name in ("mean", "median")),
)


def first_hit(descriptions: Sequence[str], names: Callable[[str], object]) -> int:
    """1 + index of the first description for which ``names`` is true, else their number + 1."""
    hits = (i for i, text in enumerate(descriptions) if names(text))
    return 1 + next(hits, len(descriptions))


def rank_scores(ranks: Sequence[int]) -> dict[str, float]:
    """``ncs@k`` (share of ranks <= k), ``mean_rank`` and ``median_rank`` of 1-based ranks."""
    shares = {f"ncs@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in KS}
    return {**shares, "mean_rank": statistics.fmean(ranks), "median_rank": float(statistics.median(ranks))}


def ncs_compute(records: Sequence[Record], keywords: Sequence[str] | Callable[[str], object]) -> dict[str, float]:
    """NCS of retrieval records, as HMU's ``ncs_compute.py`` (measured).

    Per repeat the best rank of each name; ``ncs@k`` is the share of names with rank <= k; means over repeats,
    ``conf/*`` = 1.96 sd / sqrt(repeats) (NaN for one repeat); ``min_*`` take the best rank over all repeats first;
    ``forget_size`` counts the names of the last repeat.

    Args:
        records: each with ``name``, ``repeat`` and ``retrieval`` (a list of ``{"description": ...}``, best first).
        keywords: the concept's words (published: case-sensitive substrings), or a function that says whether a
            description names it (ours: ``concept.find``).

    Raises:
        DataError: there are no records, or one was never searched for, or without an answer.
    """
    repeats = best_ranks(records, keywords)
    scores = [rank_scores(list(ranks.values())) for ranks in repeats]
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
    overall = rank_scores(list(least.values()))
    result.update({f"min_{key}": overall[key] for key in overall if key.startswith("ncs")})
    result.update(min_rank=overall["mean_rank"], min_median_rank=overall["median_rank"])
    return result


def best_ranks(records: Sequence[Record], keywords: Sequence[str] | Callable[[str], object]) -> list[dict[str, int]]:
    """Per repeat, in order, the best rank of each name; see :func:`ncs_compute`."""
    names = keywords if callable(keywords) else (lambda text: any(word in text for word in keywords))
    best: dict[Any, dict[str, int]] = {}
    for record in records:
        if not record.get("retrieval"):  # without an answer the rank would be 1, the best there is
            raise DataError(f"record '{record.get('name')}' has no retrieval: search for it first (hmu.tools.retrieve)")
        rank = first_hit([item["description"] for item in record["retrieval"]], names)
        ranks = best.setdefault(record["repeat"], {})
        ranks[record["name"]] = min(rank, ranks.get(record["name"], rank))
    if not best:
        raise DataError("no records: NCS needs at least one generated motion with its retrieval")
    return [best[repeat] for repeat in sorted(best)]


def read_records(path: Path | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The heading and the records of a ``records.json``: the published object, or the list of ``hmu.tools.generate``.

    Every record has a ``name`` and a ``repeat`` (0 where none is given); ``files``, if there, is a mapping. DataError
    where it is broken, empty, or of another kind.
    """
    content = read_json(path)
    try:
        heading = {} if isinstance(content, list) else {k: v for k, v in content.items() if k != "records"}
        records = [{"repeat": 0, **r} for r in (content if isinstance(content, list) else content["records"])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no records.json; expected the list that hmu.tools.generate writes") from error
    if not records:
        raise DataError(f"{path}: the list of records is empty; generate motions first (hmu.tools.generate)")
    for number, record in enumerate(records):
        if not isinstance(record.get("name"), (str, int)):
            raise DataError(f"{path}: record {number} has no 'name'; expected the clip that the motion was asked for")
        if type(record["repeat"]) is not int:
            raise DataError(f"{path}: record {number} has repeat {record['repeat']!r}; expected a whole number")
        if not isinstance(record.get("files", {}), dict):
            raise DataError(f'{path}: record {number} has files {record["files"]!r}; expected {{"features": a path}}')
    return heading, records


def write_records(path: Path | str, records: Sequence[Record], **heading: Any) -> None:
    """Write the published form ``{dataset_name, ckpt, split, records: [...]}`` atomically."""
    write_json(path, {**heading, "records": [dict(record) for record in records]})
