"""What the kinematic rules see in generated (or real) motions of a prompt set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from hmu.build import instantiate
from hmu.data.concepts import Concept
from hmu.documents import read_yaml
from hmu.evaluation.counting import Measured, Resampling, share, with_draws
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import BOTH_SIDES, FORGET_SIDE, PromptSet
from hmu.tree import options

Hits = dict[str, Tensor]  # by action, which motions show it: float64 (n,), 0 or 1


def detector_concepts(concept: Concept) -> dict[str, Concept]:
    """Actions that the rules know, by name: every concept that is called as its detector.

    One that borrows the detector of another is no further action; ``concept`` as it was composed wins.
    """
    nodes = {name: read_yaml(path) for name, path in options("concept").items()}
    actions = {
        k: instantiate(node) for k, node in nodes.items() if isinstance(node, dict) and node.get("detector") == k
    }
    return actions if concept.detector is None else actions | {concept.name: concept}


def _asked_for(prompts: PromptSet, concept: Concept) -> set[str]:
    """Actions whose rate should stay: those that captions ask for, on sets that should be kept or partly kept."""
    if prompts.name in FORGET_SIDE and prompts.name not in BOTH_SIDES:
        return set()
    return set(prompts.actions) - {concept.name}


def look(prompts: PromptSet, motion: Tensor, concept: Concept) -> Hits:
    """Run the rules of the concept and of every asked-for action on motions ``(n, frames, features)`` in real units."""
    representation = prompts.representation
    rule = representation.rule(concept)
    labels = _asked_for(prompts, concept) | ({concept.name} if rule else set())
    rules = {label: str(rule) if label == concept.name else label for label in sorted(labels)}
    hits = representation.detect(set(rules.values()), motion, prompts.lengths)
    return {label: hits[rule].double() for label, rule in rules.items()}


def rates(
    model: str, prompts: PromptSet, hits: Sequence[Hits], concept: Concept, resampling: Resampling
) -> Iterator[Measured]:
    """Share of motions in which the concept is seen, and in which what a caption asks for is seen.

    ``hits``: of every repeat; none = the rules do not know the skeleton.
    """
    asked = _asked_for(prompts, concept)
    made = partial(_rate, model, prompts.name)
    for label in hits[0] if hits else ():
        mask = prompts.actions[label] if label in asked else torch.ones(len(prompts), dtype=torch.bool)
        good = "lower" if label == concept.name else "higher"
        yield share([found[label] for found in hits], mask, resampling, partial(made, label, good))
    if asked and hits:
        others = [{label: found[label] for label in sorted(asked)} for found in hits]
        yield _overall(others, prompts, resampling, partial(made, None, "higher"))


def _rate(model: str, set_: str, label: str | None, good: str, values: Sequence[float], n: int) -> Row:
    return summarise(model, set_, "detector_rate", values, n, label=label, share=True, direction=good)


def _overall(
    hits: Sequence[Mapping[str, Tensor]],
    prompts: PromptSet,
    resampling: Resampling,
    row: Callable[[Sequence[float], int], Row],
) -> Measured:
    """The rate over everything that captions ask for: a caption that asks for two actions counts twice."""
    asked = torch.stack([prompts.actions[label] for label in hits[0]]).double()
    rights = [torch.stack(list(found.values())) * asked for found in hits]
    made = row([float(right.sum() / asked.sum()) for right in rights], int(asked.sum()))
    draws = []
    if resampling.draws:
        draws = [(resampling.counts @ right.sum(0)) / (resampling.counts @ asked.sum(0)) for right in rights]
    return with_draws(made, resampling.centred(made.value, draws))
