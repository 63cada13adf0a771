"""Measuring a gait model: it reads no text, so every set is asked the same and compared with its own real windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.counting import Measured, Resampling, count, share
from hmu.evaluation.generation import Generated
from hmu.evaluation.inputs import OF_GAIT, OF_WINDOWS
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import FORGET_SIDE, PromptSet
from hmu.evaluation.suite import Suite
from hmu.gait.representation import GAIT
from hmu.gait.rules import RULES, styles
from hmu.gait.statistics import NAMES
from hmu.metrics.base import EvalSamples, Provider
from hmu.metrics.values import Value


class GaitSuite(Suite):
    """As :class:`~hmu.evaluation.suite.Suite`, for models that generate windows at will.

    Both sides see the same generated windows. ``forget``: share of windows in which the rule sees the concept, and how
    far all windows are from real ones of the concept. ``retain``: shares and statistics of every other style, distances
    from real windows of the rest, consistency of forces and motion.

    Args:
        metrics: torchmetrics that look at ``generated``, ``real``, ``states`` or ``real_states``.
        limits: windows per set; equal numbers are generated only once.
        repeats, guidance, steps, batch_size, split, bootstrap, pages: as there; ``guidance`` is not read.
    """

    captioned: ClassVar[bool] = False
    of_set: ClassVar[Mapping[str, Provider]] = OF_GAIT
    of_repeat: ClassVar[Mapping[str, Provider]] = OF_WINDOWS

    def real_rates(self, sets: Sequence[PromptSet], concept: Concept) -> dict[str, dict[str, float]]:
        """What the rules see in the real windows of each set, by set and style (the concept by its own name)."""
        shares: dict[str, dict[str, float]] = {}
        for prompts in sets:
            if prompts.real is not None:
                hits = styles(prompts.real.motion)
                shares[prompts.name] = {
                    label: float(hits[rule].double().mean()) for label, rule in _looked_for(prompts, concept).items()
                }
        return shares

    def asked(self, prompts: PromptSet) -> PromptSet:
        """Without captions: sets of one size are one question, which is answered once (and found in the cache then)."""
        return replace(prompts, captions=(Caption(""),) * len(prompts))

    def counted(
        self, model: str, generated: Generated, shared: EvalSamples, resampling: Resampling
    ) -> Iterator[Measured]:
        """A forget set reports all windows; a set that is kept reports each style but the concept's by itself."""
        prompts, concept = shared["prompts"], shared["concept"]
        own, keep = GAIT.rule(concept), prompts.name not in FORGET_SIDE

        def row(value: Value, values: Sequence[float]) -> Row:
            metric, _, label = value.name.partition("/")
            value = replace(value, name=metric)
            return summarise(model, prompts.name, value, values, len(prompts), label=label or None)

        samples = self.samples(shared, generated.motions, generated.embeddings)
        for one in count(self.metrics, samples, resampling, row, prompts.name):
            label, metric = one.row.label, one.row.metric
            if (label is None and (not keep or metric not in (*NAMES, "statistics_gap"))) or (
                keep and label is not None and label != own
            ):
                yield one
        hits = [styles(motion) for motion in generated.motions]
        every = torch.ones(len(prompts), dtype=torch.bool)
        for label, rule in _looked_for(prompts, concept).items():
            made = partial(_rate, model, prompts.name, label, "lower" if label == concept.name else "same")
            yield share([found[rule].double() for found in hits], every, resampling, made)


def _looked_for(prompts: PromptSet, concept: Concept) -> dict[str, str]:
    """Rules by the label of their row: the concept on the forget side, the other styles elsewhere."""
    own = GAIT.rule(concept)
    if prompts.name in FORGET_SIDE:
        return {} if own is None else {concept.name: own}
    return {name: name for name in RULES if name != own}


def _rate(model: str, set_: str, label: str, good: str, values: Sequence[float], n: int) -> Row:
    return summarise(model, set_, "detector_rate", values, n, label=label, share=True, direction=good)
