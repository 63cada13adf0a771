"""Parity of metrics: ``metrics`` (FID, retrieval, diversity, ``hmu_eval_*``, NCS), ``guo_metrics``, ``hmu_ncs``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.evaluators.guo.vocabulary import CLASSES, Vocabulary
from hmu.evaluators.masking import mask_substrings
from hmu.metrics.diversity import diversity
from hmu.metrics.fid import frechet_distance, gaussian
from hmu.metrics.mm_dist import distances
from hmu.metrics.mm_safe import mm_safe_hmu
from hmu.metrics.multimodality import multimodality
from hmu.metrics.ncs import ncs_compute
from hmu.metrics.r_precision import top_hits
from tests.parity.arithmetic import concept_rank, mpjpe, published_half_width
from tests.parity.checks import Check, compare, exact
from tests.parity.guo import Arrays, read_json

EXACT, MEASURED, AUTHORS = 1e-6, 2e-6, 1e-5


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """The arrays as tensors of their own types."""
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


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
    arrays, told = tensors(np.load(path)), read_json(path.with_suffix(".json"))
    for case in sorted({name.split("__")[0] for name in arrays}):
        mean_a, cov_a = gaussian(arrays[f"{case}__a"])
        mean_b, cov_b = gaussian(arrays[f"{case}__b"])
        for name, ours in (("mu_a", mean_a), ("mu_b", mean_b), ("cov_a", cov_a), ("cov_b", cov_b)):
            expected = arrays[f"{case}__{name}"]
            yield compare(f"fid {case} {name}", ours.reshape(expected.shape), expected, AUTHORS)
        value = frechet_distance(mean_a, cov_a, mean_b, cov_b)
        for name, expected in told[case].items():
            if name.startswith("fid_") and expected is not None and math.isfinite(expected):
                yield compare(f"{case} {name}", value, expected, EXACT if "exact" in name else AUTHORS)


# -- retrieval_diversity.npz ------------------------------------------------------------------------------------------
def retrieval_checks(path: Path) -> Iterator[Check]:
    """R-precision, matching score, diversity, multimodality, joint error, interval."""
    a = tensors(np.load(path))
    text, motion = a["rp_text"], a["rp_motion"]
    pools = list(zip(text.split(int(a["rp_batch"])), motion.split(int(a["rp_batch"])), strict=True))
    yield exact("rp_batch_sizes", [len(t) for t, _ in pools], a["rp_batch_sizes"].tolist())
    hits = np.stack([top_hits(t, m, 3).sum(0).numpy() for t, m in pools])
    yield compare("rp_hits_per_batch", hits, a["rp_hits_per_batch"], 0.0, absolute=True)
    yield compare("rp", hits.sum(0) / len(text), a["rp"], EXACT)
    whole = a["rp_batch_sizes"].numpy() == int(a["rp_batch"])
    share = hits[whole].sum(0) / (whole.sum() * int(a["rp_batch"]))
    yield compare("rp_drop_last", share, a["rp_drop_last"], EXACT)
    yield compare(
        "rp_dist_first_batch", torch.cdist(*(x.double() for x in pools[0])), a["rp_dist_first_batch"], AUTHORS
    )
    yield hit_checks("rp_topk_first_batch", *pools[0], a["rp_topk_first_batch"].numpy())
    yield compare("matching_score_mean", distances(text, motion).mean(), a["matching_score_mean"], MEASURED)
    for name in [n for n in a if n.startswith("diversity") and f"{n}_idx1" in a]:
        ours = diversity(a["diversity_in"], a[f"{name}_idx1"], a[f"{name}_idx2"])
        yield compare(name, ours, a[name], MEASURED)
    yield compare("multimodality", multimodality(a["mm_in"], a["mm_idx1"], a["mm_idx2"]), a["multimodality"], MEASURED)
    yield compare("mpjpe", mpjpe(a["mpjpe_gt"], a["mpjpe_pred"]), a["mpjpe"], MEASURED)
    values = a["ci_values"].tolist()
    yield compare(
        "ci", [math.fsum(values) / len(values), published_half_width(values)], [a["ci_mean"], a["ci_half_width"]], EXACT
    )


# -- hmu_eval_* : HMU's evaluation on stored embeddings ---------------------------------------------------------------
class Accumulated:
    """The sums of HMU's evaluation over batches, from row-aligned embeddings per batch."""

    def __init__(self) -> None:
        self.text: list[Tensor] = []
        self.masked: list[Tensor] = []
        self.changed: list[Tensor] = []
        self.motion: list[Tensor] = []
        self.real: list[Tensor] = []
        self.repeats: list[Tensor] = []

    def results(self, choices: Sequence[np.ndarray]) -> dict[str, float]:
        """The authors' result names; ``choices`` are the random draws in their order."""
        text, motion, real = torch.cat(self.text), torch.cat(self.motion), torch.cat(self.real)
        hits = torch.stack([top_hits(t, m, 3).sum(0) for t, m in zip(self.text, self.motion, strict=True)]).sum(0)
        batch = torch.repeat_interleave(torch.tensor([len(t) for t in self.text]))
        safe = mm_safe_hmu(text, torch.cat(self.masked), motion, torch.cat(self.changed), batch)
        draws = [torch.from_numpy(np.asarray(choice)) for choice in choices]
        result = {
            "fid": frechet_distance(*gaussian(real), *gaussian(motion)),
            "diversity": diversity(motion, draws[-2], draws[-1]),
            **{f"R_precision_{k}": float(hits[k - 1]) / len(text) for k in (1, 2, 3)},
            "MM-Dist": float(distances(text, motion).mean()),
            "multimodality": multimodality(torch.cat(self.repeats), draws[0], draws[1]) if self.repeats else 0.0,
            "MM-Safe": safe["mm_safe"],
            "toxic_distance": safe["toxic_distance"],
            "notox_accuracy": safe["notox_accuracy"],
        }
        return result


def stored_eval_checks(path: Path) -> Iterator[Check]:
    """One ``hmu_eval_<terms>[_nomm].json``; embeddings lie in whichever file of the folder holds them."""
    told, own = read_json(path), dict(np.load(path.with_suffix(".npz")))
    base = next(dict(z) for z in map(np.load, sorted(path.parent.glob("hmu_eval_*.npz"))) if "b0_motion_gt" in z.files)
    a = tensors({**{n: v for n, v in base.items() if "masked" not in n and "choice" not in n}, **own})
    sums, vocabulary = Accumulated(), Vocabulary(tuple(told["vocab"]))
    for i, tokens in enumerate(told["tokens"]):
        order = a[f"b{i}_order"]
        framed = [line.split("_") for line in tokens]
        masked = [mask_substrings(words, told["toxic_terms"]) for words in framed]
        changed = torch.tensor([new != old for new, old in zip(masked, framed, strict=True)])
        yield exact(f"batch {i} is masked", bool(changed.any()), f"b{i}_text_emb_masked" in own)
        text = a[f"b{i}_text_emb"][order]
        clean = _stand_in(masked, vocabulary, a)[order]
        if f"b{i}_text_emb_masked" in own:
            yield compare(f"batch {i} masked text", clean, own[f"b{i}_text_emb_masked"], AUTHORS)
            clean = a[f"b{i}_text_emb_masked"]
        sums.text.append(text)
        sums.masked.append(clean)
        sums.changed.append(changed[order])
        sums.real.append(a[f"b{i}_motion_gt"][order])
        repeats = a.get(f"b{i}_motion_pred30") if told["cal_mm"] else None
        motion = a[f"b{i}_motion_pred"] if repeats is None else repeats[:, -1]
        sums.motion.append(motion[order])
        if repeats is not None:
            sums.repeats.append(repeats[order])
    choices = [own[f"choice_{i}"] for i in range(sum(n.startswith("choice_") for n in own))]
    yield exact("draws", _drawn(told["np_seed_before_call"], sums), [c.tolist() for c in choices])
    yield from result_checks(path.stem, sums.results(choices), told["result"])


def result_checks(name: str, ours: Mapping[str, float], expected: Mapping[str, float]) -> Iterator[Check]:
    """All named results of one run."""
    yield exact(f"{name}: names", sorted(ours), sorted(expected))
    for key, value in expected.items():
        yield compare(f"{name} {key}", ours.get(key, math.nan), value, AUTHORS)


def _drawn(seed: int, sums: Accumulated) -> list[list[int]]:
    return [draw.tolist() for draw in draw_like_hmu(seed, sums)]


def draw_like_hmu(seed: int, sums: Accumulated) -> list[np.ndarray]:
    """The authors' draws after ``np.random.seed(seed)``: 10 of the repeats twice, then up to 300 rows twice."""
    random = np.random.RandomState(seed)
    count = sum(map(len, sums.text))
    sizes = [(sums.repeats[0].shape[1], 10)] * 2 if sums.repeats else []
    return [random.choice(n, k, replace=False) for n, k in [*sizes, *[(count, min(300, count))] * 2]]


def _stand_in(masked: Sequence[Sequence[str]], vocabulary: Vocabulary, a: Mapping[str, Tensor]) -> Tensor:
    """The stand-in text encoder: mean over tokens of [word vector, class one-hot] times a matrix."""
    rows, classes = zip(*(vocabulary.encode([words]) for words in masked), strict=True)
    onehot = [torch.nn.functional.one_hot(c[0], len(CLASSES)).double() for c in classes]
    tokens = [torch.cat((a["glove"][r[0]].double(), o), -1).mean(0) for r, o in zip(rows, onehot, strict=True)]
    return torch.stack(tokens) @ a["standin_text_matrix"].double()


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
            yield from ncs_checks(read_json(path)["records"], read_json(case / "ncs_expected.json")[key], f"ncs {key}")
        elif path.name.startswith("fid") and path.suffix == ".npz":
            yield from fid_checks(path)
        elif path.name.startswith("retrieval_diversity") and path.suffix == ".npz":
            yield from retrieval_checks(path)
        elif not (
            path.with_suffix(".npz" if path.suffix == ".json" else ".json").is_file() or path.stem == "ncs_expected"
        ):
            yield Check(f"unknown file {path.name}", math.inf, 0.0)


def guo_metrics(case: Path) -> Iterator[Check]:
    """The original evaluator's metric functions on stored embeddings."""
    a, told = tensors(np.load(case / "vectors.npz")), read_json(case / "expected.json")
    text, motion, other = a["text"], a["motion"], a["other"]
    each = distances(text, motion)
    mean, covariance = gaussian(motion)
    yield compare("dist", torch.cdist(text.double(), motion.double()), a["dist"], AUTHORS)
    yield hit_checks("top3_bool", text, motion, a["top3_bool"].numpy())
    yield hit_checks("top3_sum", text, motion, np.asarray(told["top3_sum"]))
    yield compare("matching_each", each, a["matching_each"], AUTHORS)
    yield compare("mu_motion", mean, a["mu_motion"], AUTHORS)
    yield compare("cov_motion", covariance, a["cov_motion"], AUTHORS)
    pairs = tuple(n for n in a if n.endswith("_first"))
    yield exact("index pairs", sorted(pairs), ["diversity_first", "mm_first"])
    ours = {
        "matching_score_sum": float(each.sum()),
        "trace_of_dist": float(each.sum()),
        "fid": frechet_distance(*gaussian(motion), *gaussian(other)),
        "fid_self": frechet_distance(mean, covariance, mean, covariance),
        "diversity_k": diversity(motion, a["diversity_first"], a["diversity_second"]),
        "diversity_all": diversity(motion, *_choices(told["numpy_seed"], len(motion), len(motion))),
    }
    for name, expected in told.items():
        if name.startswith("fid_singular_"):
            n, m = (int(part) for part in name.removeprefix("fid_singular_").split("_")[:3:2])
            ours[name] = frechet_distance(*gaussian(motion[:n]), *gaussian(other[:m]))
        elif name.startswith("multimodality_"):
            ours[name] = multimodality(a["mm"], a["mm_first"], a["mm_second"])
        elif name not in ours and name not in ("top3_sum", "k", "numpy_seed"):
            yield Check(f"unknown value {name}", math.inf, 0.0)
        if name in ours:
            yield compare(name, ours[name], expected, AUTHORS)


def _choices(seed: int, count: int, k: int) -> tuple[Tensor, Tensor]:
    random = np.random.RandomState(seed)
    first, second = (torch.from_numpy(random.choice(count, k, replace=False)) for _ in range(2))
    return first, second


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "metrics": metrics_folder,
    "guo_metrics": guo_metrics,
    "hmu_ncs": ncs_folder,
}
