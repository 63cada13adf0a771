"""Parity of metrics: ``metrics`` (FID, retrieval, diversity, ``hmu_eval_*``, NCS), ``guo_metrics``, ``hmu_ncs``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from tests.parity.case import Case, Table, read_arrays, read_json, strange
from tests.parity.checks import Check, compare, exact, unchecked
from tests.parity.hmu_sums import AUTHORS, stored_eval_checks

EXACT, MEASURED = 1e-6, 2e-6
Arrays = Mapping[str, np.ndarray]


def hit_checks(name: str, text: Tensor, motion: Tensor, expected: np.ndarray) -> Check:
    """Hits in the first k of one pool; rows tied with another motion may fall either way in the authors' sort."""
    ours = top_hits(text, motion, expected.shape[-1]).numpy()
    if expected.ndim == 2:
        tied = (ours > 0) & (ours < 1)
        return compare(name, np.where(tied, expected, ours), expected, 0.0, absolute=True)
    low, high = np.floor(ours).sum(0), np.ceil(ours).sum(0)
    return compare(name, np.clip(expected, low, high), expected, 0.0, absolute=True)


# -- fid.npz ----------------------------------------------------------------------------------------------------------
def fid_checks(path: Path) -> Iterator[Check]:
    """Every case of a ``fid*.npz`` against the exact value and the authors' (two scipy versions)."""
    case = Case(path.parent, read_arrays(path))
    told = read_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
    for name in sorted({found[1] for found in case.find("(.+)__a")}):
        part = case.under(f"{name}__")
        sides = {side: gaussian(part[side]) for side in "ab"}
        moments = {
            f"{what}_{side}": value
            for side, pair in sides.items()
            for what, value in zip(("mu", "cov"), pair, strict=True)
        }
        shaped = {key: value.reshape(part.raw(key).shape) for key, value in moments.items() if key in part}
        yield from part.given(shaped, AUTHORS)
        value = frechet_distance(*sides["a"], *sides["b"])
        for key, expected in told.get(name, {}).items():
            if key.startswith("fid_") and expected is not None and math.isfinite(expected):
                yield compare(f"{name} {key}", value, expected, EXACT if "exact" in key else AUTHORS)
        if name not in told:
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


def _same(_: Case, __: None, ___: str) -> None:
    """Equal embeddings: the authors' numbers depend on the BLAS."""


RETRIEVAL_ROWS: Table = {
    "rp_batch_sizes": lambda case, _: [len(t) for t, _ in _pools(case)],
    "rp_hits_per_batch": lambda case, _: (_hits(case), case.raw("rp_hits_per_batch"), 0.0),
    "rp": lambda case, _: (_hits(case).sum(0) / len(case["rp_text"]), case.raw("rp"), EXACT),
    "rp_drop_last": lambda case, _: (
        _hits(case, True).mean(0) / case.number("rp_batch", 32), case.raw("rp_drop_last"), EXACT
    ),
    "rp_dist_first_batch": lambda case, _: torch.cdist(_pools(case)[0][0].double(), _pools(case)[0][1].double()),
    "matching_score_mean": lambda case, _: (
        distances(case["rp_text"], case["rp_motion"]).mean(), case.raw("matching_score_mean"), MEASURED
    ),
    r"(diversity\w*?)": lambda case, _, name: None if f"{name}_idx1" not in case else (
        pair_distance(case["diversity_in"], case[f"{name}_idx1"], case[f"{name}_idx2"]), case.raw(name), MEASURED
    ),
    "multimodality": lambda case, _: (
        pair_distance(case["mm_in"], case["mm_idx1"], case["mm_idx2"]).mean(), case.raw("multimodality"), MEASURED
    ),
    "mpjpe": lambda case, _: (mpjpe(case["mpjpe_gt"], case["mpjpe_pred"]), case.raw("mpjpe"), MEASURED),
    "ci_mean": lambda case, _: (case.raw("ci_values").mean(), case.raw("ci_mean"), EXACT),
    "ci_half_width": lambda case, _: (
        published_half_width(case.raw("ci_values").tolist()), case.raw("ci_half_width"), EXACT
    ),
    "rp_same_(in|dist|hits)": _same,
}  # fmt: skip
SETTINGS = {
    "diversity_times",
    "diversity_sub_times",
    "mm_times",
    "np_seed",
    "rp_same_in",
    "rp_same_dist",
    "rp_same_hits",
}


def retrieval_checks(path: Path) -> Iterator[Check]:
    """R-precision, matching score, diversity, multimodality, joint error, interval."""
    case = Case(path.parent, read_arrays(path))
    yield from case.rows(None, RETRIEVAL_ROWS, AUTHORS)
    if "rp_topk_first_batch" in case:
        yield hit_checks("rp_topk_first_batch", *_pools(case)[0], case.raw("rp_topk_first_batch"))
    case.used |= SETTINGS
    yield from case.unread()


# -- NCS --------------------------------------------------------------------------------------------------------------
def ncs_checks(records: Sequence[Mapping[str, Any]], told: Mapping[str, Any], name: str) -> Iterator[Check]:
    """One keyword list on one record file."""
    if "rank_of_each_record" in told:
        ranks = [concept_rank([r["description"] for r in x["retrieval"]], told["forget_kw"]) for x in records]
        yield exact(f"{name} ranks", ranks, told["rank_of_each_record"])
    ours = {f"unlearn/{key}": value for key, value in ncs_compute(records, told["forget_kw"]).items()}
    logged = told["logged"]
    yield exact(f"{name} names", sorted(ours), sorted(logged))
    for key, value in logged.items():
        told_value = math.nan if value is None else value
        value = ours.get(key, math.inf)
        if math.isnan(told_value):
            yield exact(f"{name} {key} is undefined", math.isnan(value), True)
        else:
            yield compare(f"{name} {key}", value, told_value, 1e-9)


def ncs_folder(case: Path) -> Iterator[Check]:
    """``records.json`` with several keyword lists in ``expected.json``."""
    records = read_json(case / "records.json")["records"]
    for name, told in read_json(case / "expected.json").items():
        yield from ncs_checks(records, told, name)


# -- folders ----------------------------------------------------------------------------------------------------------
def metrics_folder(case: Path) -> Iterator[Check]:
    """Every file of the folder by its kind; an unknown kind fails."""
    for path in sorted(case.iterdir()):
        if path.name.startswith("hmu_eval_") and path.suffix == ".json":
            yield from stored_eval_checks(path)
        elif path.name.startswith("ncs_records_") and path.suffix == ".json":
            key = path.stem.removeprefix("ncs_records_")
            expected = case / "ncs_expected.json"
            told = read_json(expected).get(key) if expected.is_file() else None
            yield from (
                [unchecked(f"ncs {key}", "no expected values")]
                if told is None
                else ncs_checks(read_json(path)["records"], told, f"ncs {key}")
            )
        elif path.name.startswith("fid") and path.suffix == ".npz":
            yield from fid_checks(path)
        elif path.name.startswith("retrieval_diversity") and path.suffix == ".npz":
            yield from retrieval_checks(path)
        elif not (
            path.with_suffix(".npz" if path.suffix == ".json" else ".json").is_file() or path.stem == "ncs_expected"
        ):
            yield unchecked(f"file '{path.name}'", "unknown kind")


def guo_metrics(folder: Path) -> Iterator[Check]:
    """The original evaluator's metric functions on stored embeddings."""
    yield from strange(folder, ".npz", ".json")
    case, told = Case.read(folder), read_json(folder / "expected.json") if (folder / "expected.json").is_file() else {}
    text, motion, other = (case.get(name) for name in ("text", "motion", "other"))
    assert text is not None
    assert motion is not None
    mean, covariance = gaussian(motion)
    outputs = {"dist": torch.cdist(text.double(), motion.double()), "matching_each": distances(text, motion)}
    yield from case.given(outputs | {"mu_motion": mean, "cov_motion": covariance}, AUTHORS)
    if "top3_bool" in case:
        yield hit_checks("top3_bool", text, motion, case.raw("top3_bool"))
    if "top3_sum" in told:
        yield hit_checks("top3_sum", text, motion, np.asarray(told["top3_sum"]))
    each = float(distances(text, motion).sum())
    ours = {"matching_score_sum": each, "trace_of_dist": each}
    ours["fid_self"] = frechet_distance(mean, covariance, mean, covariance)
    if other is not None:
        ours["fid"] = frechet_distance(mean, covariance, *gaussian(other))
    if "diversity_first" in case:
        ours["diversity_k"] = float(pair_distance(motion, case["diversity_first"], case["diversity_second"]))
    if "numpy_seed" in told:
        ours["diversity_all"] = float(pair_distance(motion, *_choices(told["numpy_seed"], len(motion), len(motion))))
    for name, expected in told.items():
        if name.startswith("fid_singular_") and other is not None:
            n, m = (int(part) for part in name.removeprefix("fid_singular_").split("_")[:3:2])
            ours[name] = frechet_distance(*gaussian(motion[:n]), *gaussian(other[:m]))
        elif name.startswith("multimodality_") and "mm_first" in case:
            ours[name] = float(pair_distance(case["mm"], case["mm_first"], case["mm_second"]).mean())
        if name in ours:
            yield compare(name, ours[name], expected, AUTHORS)
        elif name not in ("top3_sum", "k", "numpy_seed"):
            yield unchecked(f"value '{name}'", "unknown meaning")
    yield from case.unread()


def _choices(seed: int, count: int, k: int) -> tuple[Tensor, Tensor]:
    random = np.random.RandomState(seed)
    first, second = (torch.from_numpy(random.choice(count, k, replace=False)) for _ in range(2))
    return first, second


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "metrics": metrics_folder,
    "guo_metrics": guo_metrics,
    "hmu_ncs": ncs_folder,
}
