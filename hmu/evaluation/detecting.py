"""What the kinematic rules see in generated (or real) motions of a prompt set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hmu.build import instantiate
from hmu.data.concepts import Concept
from hmu.documents import read_yaml
from hmu.evaluation.counting import Measured, Tally, with_draws
from hmu.evaluation.sets import BOTH_SIDES, PromptSet
from hmu.metrics.detector_rate import RATE
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
    if not prompts.representation.captioned or (prompts.asks and prompts.name not in BOTH_SIDES):
        return set()
    return set(prompts.actions) - {concept.name}


def _rules(prompts: PromptSet, concept: Concept) -> dict[str, str]:
    """Rules by the label of their row: the concept's, and those of every action that captions ask for.

    Where nothing is asked for, both sides are answered alike: one counts the concept, the other the rest.
    """
    representation = prompts.representation
    own = representation.rule(concept)
    if representation.captioned:
        labels = _asked_for(prompts, concept) | ({concept.name} if own else set())
        return {label: str(own) if label == concept.name else label for label in sorted(labels)}
    if prompts.asks:
        return {} if own is None else {concept.name: own}
    return {rule: rule for rule in representation.rules if rule != own}


def look(prompts: PromptSet, motion: Tensor, concept: Concept) -> Hits:
    """What is counted of a set (:func:`rates`), on motions ``(n, frames, features)`` in real units."""
    rules = _rules(prompts, concept)
    hits = prompts.representation.detect(set(rules.values()), motion, prompts.lengths)
    return {label: hits[rule].double() for label, rule in rules.items()}


def rates(tally: Tally, prompts: PromptSet, hits: Sequence[Hits], concept: Concept) -> Iterator[Measured]:
    """Share of motions in which the concept is seen, and in which what a caption asks for is seen.

    ``hits``: of every repeat; none = the rules do not know the skeleton.
    """
    asked, stays = _asked_for(prompts, concept), "higher" if prompts.representation.captioned else "same"
    for label in hits[0] if hits else ():
        rights, mask = [of_repeat[label] for of_repeat in hits], prompts.actions[label] if label in asked else None
        goal = "lower" if label == concept.name else stays
        yield tally.share(RATE, rights, mask, label=label, direction=goal)
    if asked and hits:
        named = [{label: of_repeat[label] for label in sorted(asked)} for of_repeat in hits]
        yield _overall(tally, prompts, named)


def _overall(tally: Tally, prompts: PromptSet, hits: Sequence[Hits]) -> Measured:
    """The rate over everything that captions ask for: a caption that asks for two actions counts twice."""
    asked = torch.stack([prompts.actions[label] for label in hits[0]]).double()
    rights = [torch.stack(list(of_repeat.values())) * asked for of_repeat in hits]
    values = [float(right.sum() / asked.sum()) for right in rights]
    row, counts = tally.row(RATE, values, int(asked.sum()), share=True, direction="higher"), tally.resampling.counts
    draws = [(counts @ right.sum(0)) / (counts @ asked.sum(0)) for right in rights]
    return with_draws(row, tally.resampling.centred(row.value, draws))
