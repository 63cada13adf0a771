"""Parity of metrics: ``metrics`` (FID, retrieval, diversity, ``hmu_eval_*``, NCS), ``guo_metrics``, ``hmu_ncs``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.metrics.diversity import pair_distance
from hmu.metrics.fid import frechet_distance, gaussian
from hmu.metrics.mm_dist import distances
from hmu.metrics.ncs import ncs_compute
from hmu.metrics.r_precision import top_hits
from tests.parity.arithmetic import concept_rank, mpjpe, published_half_width
from tests.parity.case import Case, Table, read_arrays, read_json
from tests.parity.checks import Check, Checks, compare, exact, unchecked
from tests.parity.hmu_sums import AUTHORS, stored_eval_checks
from tests.parity.kinds import compares

EXACT, MEASURED = 1e-6, 2e-6


def hit_checks(name: str, text: Tensor, motion: Tensor, expected: np.ndarray) -> Check:
    """Hits in the first k of one pool; rows tied with another motion may fall either way in the authors' sort."""
    ours = top_hits(text, motion, expected.shape[-1]).numpy()
    if expected.ndim == 2:
        tied = (ours > 0) & (ours < 1)
        return compare(name, np.where(tied, expected, ours), expected, 0.0, absolute=True)
    low, high = np.floor(ours).sum(0), np.ceil(ours).sum(0)
    return compare(name, np.clip(expected, low, high), expected, 0.0, absolute=True)


# -- fid.npz ----------------------------------------------------------------------------------------------------------
def fid_checks(path: Path) -> Checks:
    """Every case of a ``fid*.npz`` against the exact value and the authors' (two scipy versions)."""
    case, recorded = Case(path.parent, read_arrays(path)), read_json(path.with_suffix(".json"))
    for name in sorted({fit[1] for fit in case.find("(.+)__a")}):
        part = case.under(f"{name}__")
        sides = {side: gaussian(part[side]) for side in "ab"}
        moments = {f"mu_{side}": mean for side, (mean, _) in sides.items()}
        moments |= {f"cov_{side}": covariance for side, (_, covariance) in sides.items()}
        shaped = {key: value.reshape(part.raw(key).shape) for key, value in moments.items() if key in part}
        yield from part.given(shaped, AUTHORS)
        value = frechet_distance(*sides["a"], *sides["b"])
        for key, expected in recorded.get(name, {}).items():
            if key.startswith("fid_") and expected is not None and math.isfinite(expected):
                yield compare(f"{name} {key}", value, expected, EXACT if "exact" in key else AUTHORS)
        if name not in recorded:
            yield unchecked(f"fid {name}", "no value")
    yield from case.unread()


# -- retrieval_diversity.npz -------------------------------------------------------------------------------------------
def _pools(case: Case) -> list[tuple[Tensor, Tensor]]:
    size = int(case.number("rp_batch", 32))
    return list(zip(case["rp_text"].split(size), case["rp_motion"].split(size), strict=True))


def _hits(case: Case, whole: bool = False) -> np.ndarray:
    """Hits per pool ``(pools, 3)``; ``whole``: without the last, shorter one."""
    size, pools = int(case.number("rp_batch", 32)), _pools(case)
    return np.stack([top_hits(t, m, 3).sum(0).numpy() for t, m in pools if len(t) == size or not whole])


def _apart(text: Tensor, motion: Tensor) -> Tensor:
    return torch.cdist(text.double(), motion.double())


def _diversity(case: Case, _: None, name: str) -> Tensor | None:
    if f"{name}_idx1" not in case:
        return None
    return pair_distance(case["diversity_in"], case[f"{name}_idx1"], case[f"{name}_idx2"])


RETRIEVAL_ROWS: Table = {
    "rp_batch_sizes": lambda case, _: [len(t) for t, _ in _pools(case)],
    "rp_hits_per_batch": (lambda case, _: _hits(case), 0.0),
    "rp": (lambda case, _: _hits(case).sum(0) / len(case["rp_text"]), EXACT),
    "rp_drop_last": (lambda case, _: _hits(case, True).mean(0) / case.number("rp_batch", 32), EXACT),
    "rp_dist_first_batch": lambda case, _: _apart(*_pools(case)[0]),
    "matching_score_mean": (lambda case, _: distances(case["rp_text"], case["rp_motion"]).mean(), MEASURED),
    r"(diversity\w*?)": (_diversity, MEASURED),
    "multimodality": (
        lambda case, _: pair_distance(case["mm_in"], case["mm_idx1"], case["mm_idx2"]).mean(), MEASURED
    ),
    "mpjpe": (lambda case, _: mpjpe(case["mpjpe_gt"], case["mpjpe_pred"]), MEASURED),
    "ci_mean": (lambda case, _: case.raw("ci_values").mean(), EXACT),
    "ci_half_width": (lambda case, _: published_half_width(case.raw("ci_values").tolist()), EXACT),
}  # fmt: skip
SETTINGS = {"diversity_times", "diversity_sub_times", "mm_times", "np_seed"}
#: equal embeddings: the authors' numbers depend on the BLAS
SAME = {"rp_same_in", "rp_same_dist", "rp_same_hits"}


def retrieval_checks(path: Path) -> Checks:
    """R-precision, matching score, diversity, multimodality, joint error, interval."""
    case = Case(path.parent, read_arrays(path))
    yield from case.rows(None, RETRIEVAL_ROWS, AUTHORS)
    if "rp_topk_first_batch" in case:
        yield hit_checks("rp_topk_first_batch", *_pools(case)[0], case.raw("rp_topk_first_batch"))
    case.used |= SETTINGS | SAME
    yield from case.unread()


# -- NCS --------------------------------------------------------------------------------------------------------------
def ncs_checks(records: Sequence[Mapping[str, Any]], recorded: Mapping[str, Any], name: str) -> Checks:
    """One keyword list on one record file."""
    if "rank_of_each_record" in recorded:
        ranks = [concept_rank([r["description"] for r in x["retrieval"]], recorded["forget_kw"]) for x in records]
        yield exact(f"{name} ranks", ranks, recorded["rank_of_each_record"])
    ours = {f"unlearn/{key}": value for key, value in ncs_compute(records, recorded["forget_kw"]).items()}
    yield exact(f"{name} names", sorted(ours), sorted(recorded["logged"]))
    for key, expected in recorded["logged"].items():
        value = ours.get(key, math.inf)
        if expected is None or math.isnan(expected):
            yield exact(f"{name} {key} is undefined", math.isnan(value), True)
        else:
            yield compare(f"{name} {key}", value, expected, 1e-9)


@compares("hmu_ncs", known=("*",), files=())
def ncs_folder(case: Case) -> Checks:
    """``records.json`` with several keyword lists in ``expected.json``."""
    records = read_json(case.folder / "records.json")["records"]
    for name, recorded in read_json(case.folder / "expected.json").items():
        yield from ncs_checks(records, recorded, name)


# -- folders ----------------------------------------------------------------------------------------------------------
@compares("metrics", known=("*",), files=())
def metrics_folder(case: Case) -> Checks:
    """Every file of the folder by its kind; an unknown kind is noted."""
    expected = read_json(case.folder / "ncs_expected.json")
    for path in sorted(case.folder.iterdir()):
        if path.match("hmu_eval_*.json"):
            yield from stored_eval_checks(path)
        elif path.match("ncs_records_*.json"):
            key = path.stem.removeprefix("ncs_records_")
            if key in expected:
                yield from ncs_checks(read_json(path)["records"], expected[key], f"ncs {key}")
            else:
                yield unchecked(f"ncs {key}", "no expected values")
        elif path.match("fid*.npz"):
            yield from fid_checks(path)
        elif path.match("retrieval_diversity*.npz"):
            yield from retrieval_checks(path)
        elif path.stem != "ncs_expected":
            beside = path.with_suffix(".npz" if path.suffix == ".json" else ".json")
            if not beside.is_file():
                yield unchecked(f"file '{path.name}'", "unknown kind")


@compares("guo_metrics")
def guo_metrics(case: Case) -> Checks:
    """The original evaluator's metric functions on stored embeddings."""
    recorded, other = read_json(case.folder / "expected.json"), case.get("other")
    text, motion = case["text"], case["motion"]
    mean, covariance = gaussian(motion)
    outputs = {"dist": _apart(text, motion), "matching_each": distances(text, motion)}
    yield from case.given(outputs | {"mu_motion": mean, "cov_motion": covariance}, AUTHORS)
    if "top3_bool" in case:
        yield hit_checks("top3_bool", text, motion, case.raw("top3_bool"))
    if "top3_sum" in recorded:
        yield hit_checks("top3_sum", text, motion, np.asarray(recorded["top3_sum"]))
    each = float(distances(text, motion).sum())
    ours = {"matching_score_sum": each, "trace_of_dist": each}
    ours["fid_self"] = frechet_distance(mean, covariance, mean, covariance)
    if other is not None:
        ours["fid"] = frechet_distance(mean, covariance, *gaussian(other))
    if "diversity_first" in case:
        ours["diversity_k"] = float(pair_distance(motion, case["diversity_first"], case["diversity_second"]))
    if "numpy_seed" in recorded:
        random, rows = np.random.RandomState(recorded["numpy_seed"]), len(motion)
        first, second = (torch.from_numpy(random.choice(rows, rows, replace=False)) for _ in range(2))
        ours["diversity_all"] = float(pair_distance(motion, first, second))
    for name, expected in recorded.items():
        if name.startswith("fid_singular_") and other is not None:
            n, m = (int(part) for part in name.removeprefix("fid_singular_").split("_")[:3:2])
            ours[name] = frechet_distance(*gaussian(motion[:n]), *gaussian(other[:m]))
        elif name.startswith("multimodality_") and "mm_first" in case:
            ours[name] = float(pair_distance(case["mm"], case["mm_first"], case["mm_second"]).mean())
        if name in ours:
            yield compare(name, ours[name], expected, AUTHORS)
        elif name not in ("top3_sum", "k", "numpy_seed"):
            yield unchecked(f"value '{name}'", "unknown meaning")
