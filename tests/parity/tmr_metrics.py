"""Parity of TMR's retrieval metrics on stored similarity matrices (``tmr_metrics``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hmu.metrics.retrieval import mean_scores, ranks, recall_scores, retrieval_scores, same_meaning
from tests.parity.case import Case, read_json
from tests.parity.checks import Checks, compare, exact, match, unchecked
from tests.parity.kinds import compares

DIGITS, TIED = 1e-9, 1e-6


def guo_blocks(count: int, size: int = 32) -> list[np.ndarray]:
    """Row numbers of the published small batches: one legacy shuffle with seed 0, whole blocks only."""
    index = np.arange(count)
    np.random.RandomState(0).shuffle(index)
    return [index[i : i + size] for i in range(0, count // size * size, size)]


def tied(similarity: Tensor) -> bool:
    """Whether another motion or text is as near as the right one for some query: captions that occur twice.

    Which of them comes first is by rounding, so a median rank may be off by one half.
    """
    right = similarity.diagonal()
    near = ((similarity - own).abs() < TIED for own in (right[:, None], right[None]))
    return any(bool((each.sum(axis) > 1).any()) for each, axis in zip(near, (1, 0), strict=True))


def scores_checks(
    name: str,
    galleries: Sequence[Tensor],
    expected: Mapping[str, float],
    sentences: Tensor | None = None,
    threshold: float | None = None,
    digits: int | None = 2,
) -> Checks:
    """Published scores, the mean over galleries, rounded; where captions tie, median ranks may differ by one half."""
    right = None if threshold is None or sentences is None else same_meaning(sentences, threshold)
    scores = mean_scores([retrieval_scores(gallery, right) for gallery in galleries])
    yield from _scores(name, scores, expected, any(map(tied, galleries)), digits)


def _scores(
    name: str, scores: Mapping[str, float], expected: Mapping[str, float], ties: bool, digits: int | None = 2
) -> Checks:
    ours = {key: value if digits is None else round(value, digits) for key, value in scores.items()}
    yield exact(f"{name} keys", sorted(ours), sorted(expected))
    for key in ours.keys() & expected.keys():
        half = ties and key.endswith("MedR")
        yield compare(f"{name} {key}", ours[key], expected[key], 0.5 if half else DIGITS, absolute=half)


@compares("tmr_metrics")
def tmr_metrics(case: Case) -> Checks:
    """Ranks and scores of every matrix under every rule, the published blocks."""
    for name, expected in read_json(case.folder / "expected.json").items():
        yield from _over_blocks(name, case, expected) if name == "mean_over_blocks" else _table(name, case, expected)
    for name in case.names():
        if "_rank0" in name:
            yield from _ranks(name, case)
        elif name.startswith("guo_batches_N"):
            blocks = guo_blocks(int(name.removeprefix("guo_batches_N")))
            yield match(name, np.stack(blocks), case.raw(name), 0.0)
        elif name.startswith("blocks_of_"):
            yield exact(f"{name} is a permutation", sorted(case.raw(name).tolist()), list(range(len(case.raw(name)))))


def _matrix(name: str, case: Case) -> Tensor | None:
    """A stored matrix; ``…_float64`` is the matrix of the first part of the name in double."""
    plain = case.get(name.removesuffix("_float64"))
    return plain if plain is None or name in case else plain.double()


def _threshold(rule: str) -> float | None:
    number = rule.removeprefix("th")
    return None if number == "None" else float(number)


def optimistic(similarity: Tensor, right: Tensor | None = None) -> Tensor:
    """As :func:`ranks`, but the right column comes first among equals."""
    own = similarity.diagonal()
    if right is not None:
        own = similarity.masked_fill(~right, -torch.inf).amax(1).maximum(own)
    return (similarity > own[:, None]).sum(1).double()


def _table(name: str, case: Case, expected: Mapping[str, float]) -> Checks:
    matrix, _, rule = name.partition("/")
    similarity = _matrix(matrix, case)
    if similarity is None:
        yield unchecked(name, "its matrix is not stored")
    elif rule.startswith("optimistic_"):
        order = optimistic(similarity if rule.endswith("t2m") else similarity.mT)
        yield from _scores(name, recall_scores(order), expected, tied(similarity))
    elif rule == "unrounded":
        yield from scores_checks(name, [similarity], expected, digits=None)
    else:
        yield from scores_checks(name, [similarity], expected, case.get("sent_emb"), _threshold(rule))


def _ranks(name: str, case: Case) -> Checks:
    matrix, *rest = name.split("/")
    similarity, sentences = _matrix(matrix, case), case.get("sent_emb")
    direction = rest[-1].removeprefix("optimistic_").removesuffix("_rank0")
    threshold = _threshold(rest[0]) if len(rest) > 1 else None
    if similarity is None or (threshold is not None and sentences is None):
        yield unchecked(name, "its matrix or the sentences are not stored")
        return
    right = None if threshold is None or sentences is None else same_meaning(sentences, threshold)
    rank = optimistic if rest[-1].startswith("optimistic") else ranks
    ours = rank(similarity if direction == "t2m" else similarity.mT, right)
    yield compare(name, ours, case.raw(name), 0.0, absolute=True)


def _over_blocks(name: str, case: Case, expected: Mapping[str, float]) -> Checks:
    """The mean over equal parts of a stored permutation; which matrix is not recorded: the first one."""
    stored = next(iter(case.find(r"blocks_of_(\d+)")), None)
    square = next((n for n in case.names() if case.dims(n) == 2 and len(set(case.raw(n).shape)) == 1), None)
    if stored is None or square is None:
        yield unchecked(name, "no blocks stored")
        return
    permutation, matrix = case.raw(stored[0]), case[square]
    blocks = [torch.from_numpy(b) for b in np.array_split(permutation, len(permutation) // int(stored[1]))]
    yield from scores_checks(name, [matrix[b][:, b] for b in blocks], expected)
