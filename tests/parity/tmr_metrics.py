"""Parity of TMR's retrieval metrics on stored similarity matrices (``tmr_metrics``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.metrics.retrieval import mean_scores, ranks, recall_scores, retrieval_scores, same_meaning
from tests.parity.checks import Check, compare, exact
from tests.parity.guo import Arrays, read_json

DIGITS = 1e-9


def guo_blocks(count: int, size: int = 32) -> list[np.ndarray]:
    """Row numbers of the published small batches: one legacy shuffle with seed 0, whole blocks only."""
    index = np.arange(count)
    np.random.RandomState(0).shuffle(index)
    return [index[i : i + size] for i in range(0, count // size * size, size)]


def rounded(
    galleries: Sequence[Tensor], sentences: Tensor | None = None, threshold: float | None = None, digits: int | None = 2
) -> dict[str, float]:
    """Published scores: the mean over galleries, rounded."""
    right = None if threshold is None or sentences is None else same_meaning(sentences, threshold)
    scores = mean_scores([retrieval_scores(gallery, right) for gallery in galleries])
    return scores if digits is None else {key: round(value, digits) for key, value in scores.items()}


def scores_checks(name: str, ours: Mapping[str, float], expected: Mapping[str, float]) -> Iterator[Check]:
    """Every key of an expected table."""
    yield exact(f"{name} keys", sorted(ours), sorted(expected))
    for key in ours.keys() & expected.keys():
        yield compare(f"{name} {key}", ours[key], expected[key], DIGITS)


def tmr_metrics(case: Path) -> Iterator[Check]:
    """Ranks and scores of every matrix under every rule, the published blocks."""
    told, arrays = read_json(case / "expected.json"), dict(np.load(case / "vectors.npz"))
    sentences = torch.from_numpy(arrays["sent_emb"])
    for name, expected in told.items():
        if name == "mean_over_blocks":
            yield from _over_blocks(name, arrays, expected)
        else:
            yield from _table(name, arrays, sentences, expected)
    for name in sorted(arrays):
        if "_rank0" in name:
            yield from _ranks(name, arrays, sentences)
        elif name.startswith("guo_batches_N"):
            yield exact(name, np.stack(guo_blocks(int(name.removeprefix("guo_batches_N")))), arrays[name])
        elif name.startswith("blocks_of_"):
            yield exact(f"{name} is a permutation", sorted(arrays[name].tolist()), list(range(len(arrays[name]))))
        elif arrays[name].ndim != 2:
            yield Check(f"unknown array {name}", float("inf"), 0.0)


def _matrix(name: str, arrays: Arrays) -> Tensor:
    """A stored matrix; ``…_float64`` is the matrix of the first part of the name in double."""
    if name in arrays:
        return torch.from_numpy(arrays[name])
    return torch.from_numpy(arrays[name.removesuffix("_float64")]).double()


def _threshold(rule: str) -> float | None:
    told = rule.removeprefix("th")
    return None if told == "None" else float(told)


def _table(name: str, arrays: Arrays, sentences: Tensor, expected: Mapping[str, float]) -> Iterator[Check]:
    matrix, _, rule = name.partition("/")
    similarity = _matrix(matrix, arrays)
    if rule.startswith("optimistic_"):
        found = ranks(similarity if rule.endswith("t2m") else similarity.mT, ties="first")
        ours = {key: round(value, 2) for key, value in recall_scores(found).items()}
    elif rule == "unrounded":
        ours = rounded([similarity], digits=None)
    else:
        ours = rounded([similarity], sentences, _threshold(rule))
    yield from scores_checks(name, ours, expected)


def _ranks(name: str, arrays: Arrays, sentences: Tensor) -> Iterator[Check]:
    matrix, *rest = name.split("/")
    similarity = _matrix(matrix, arrays)
    direction = rest[-1].removeprefix("optimistic_").removesuffix("_rank0")
    right = None
    if len(rest) > 1 and (threshold := _threshold(rest[0])) is not None:
        right = same_meaning(sentences, threshold)
    ties = "first" if rest[-1].startswith("optimistic") else "mean"
    found = ranks(similarity if direction == "t2m" else similarity.mT, right, ties)
    yield compare(name, found, arrays[name], 0.0, absolute=True)


def _over_blocks(name: str, arrays: Arrays, expected: Mapping[str, float]) -> Iterator[Check]:
    """The mean over equal parts of a stored permutation; which matrix is not recorded: the first one."""
    stored = next(n for n in arrays if n.startswith("blocks_of_"))
    size = int(stored.removeprefix("blocks_of_"))
    matrix = torch.from_numpy(next(a for a in arrays.values() if a.ndim == 2 and a.shape[0] == a.shape[1]))
    blocks = [torch.from_numpy(b) for b in np.array_split(arrays[stored], len(arrays[stored]) // size)]
    yield from scores_checks(name, rounded([matrix[b][:, b] for b in blocks]), expected)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"tmr_metrics": tmr_metrics}
