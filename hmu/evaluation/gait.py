"""Measuring a gait model: it reads no text, so every set is asked the same and compared with its own real windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.counting import Measured, Resampling, count, share
from hmu.evaluation.generation import GenerationCache
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import FORGET_SIDE, PromptSet
from hmu.evaluation.suite import KEEP, Answers, Model, Suite, embed
from hmu.evaluators.base import Evaluator
from hmu.gait.rules import RULES, styles
from hmu.gait.statistics import NAMES, statistics
from hmu.metrics.base import EvalSamples
from hmu.phases import Phase

GOOD = KEEP | {"statistics_gap": "lower", "load_error": "lower", "force_motion_error": "lower", "foot_slide": "lower"}
GOOD |= dict.fromkeys(NAMES, "same")
#: by style and statistic: mean, standard deviation, windows that have it
Table = dict[str, dict[str, tuple[float, float, int]]]


def rule_of(concept: Concept) -> str | None:
    """The kinematic rule (:data:`hmu.gait.rules.RULES`) that a concept's keywords name; None where there is none."""
    return next((name for name in RULES if concept.find(name.replace("_", " "))), None)


class GaitSuite(Suite):
    """As :class:`~hmu.evaluation.suite.Suite`, for models that generate windows at will.

    Both sides see the same generated windows. ``forget``: share of windows in which the rule sees the concept, and how
    far all windows are from real ones of the concept. ``retain``: shares and statistics of every other style, distances
    from real windows of the rest, consistency of forces and motion.

    Args:
        metrics: torchmetrics that look at ``generated``, ``real``, ``states`` or ``real_states``.
        limits: windows per set; equal numbers are generated only once.
        repeats, guidance, steps, batch_size, split, bootstrap: as there; ``guidance`` is not read.
    """

    def real_rates(self, sets: Sequence[PromptSet], concept: Concept) -> dict[str, dict[str, float]]:
        """What the rules see in the real windows of each set, by set and style (the concept by its own name)."""
        found: dict[str, dict[str, float]] = {}
        for prompts in sets:
            if prompts.real is not None:
                hits = styles(prompts.real.motion)
                found[prompts.name] = {
                    label: float(hits[rule].double().mean()) for label, rule in _looked_for(prompts, concept).items()
                }
        return found

    def _ask(
        self, model: Model, prompts: PromptSet, evaluator: Evaluator, seed: int, cache: GenerationCache, done: Phase
    ) -> Answers:
        # without captions sets of one size are one question, which is answered once (and found in the cache after that)
        blank = replace(prompts, captions=(Caption(""),) * len(prompts))
        return super()._ask(model, blank, evaluator, seed, cache, done)

    def _fixed(self, prompts: PromptSet, evaluator: Evaluator, concept: Concept) -> EvalSamples:
        ids = tuple(f"{i}" for i in range(len(prompts)))
        if prompts.real is None:
            return EvalSamples(ids=ids, lengths=prompts.lengths)
        real = embed(evaluator, prompts.real.motion, prompts.real.lengths)
        return EvalSamples(real=real, real_states=prompts.real.motion, ids=ids, lengths=prompts.lengths)

    def _count(
        self,
        model: str,
        prompts: PromptSet,
        answers: Answers,
        fixed: EvalSamples,
        concept: Concept,
        resampling: Resampling,
    ) -> Iterator[Measured]:
        own, keep = rule_of(concept), prompts.name not in FORGET_SIDE

        def samples() -> Iterator[EvalSamples]:
            for motion, embedding in zip(answers.motions, answers.embeddings, strict=True):
                yield replace(fixed, generated=embedding, states=motion)

        def row(name: str, values: Sequence[float]) -> Row:
            metric, _, label = name.partition("/")
            good = GOOD.get(metric, "reference") if keep else "reference"
            return summarise(model, prompts.name, metric, values, len(prompts), label=label or None, direction=good)

        for one in count(self.metrics, samples(), resampling, row, prompts.name):
            label, metric = one.row.label, one.row.metric
            # a forget set tells of all windows; a set that is kept tells of each other style by itself
            if (label is None and (not keep or metric not in (*NAMES, "statistics_gap"))) or (
                keep and label is not None and label != own
            ):
                yield one
        yield from self._rates(model, prompts, answers, concept, resampling)

    def _rates(
        self, model: str, prompts: PromptSet, answers: Answers, concept: Concept, resampling: Resampling
    ) -> Iterator[Measured]:
        hits = [styles(motion) for motion in answers.motions]
        every = torch.ones(len(prompts), dtype=torch.bool)
        for label, rule in _looked_for(prompts, concept).items():
            made = partial(_rate, model, prompts.name, label, "lower" if label == concept.name else "same")
            yield share([found[rule].double() for found in hits], every, resampling, made)


def _looked_for(prompts: PromptSet, concept: Concept) -> dict[str, str]:
    """Rules by the label of their row: the concept on the forget side, the other styles elsewhere."""
    own = rule_of(concept)
    if prompts.name in FORGET_SIDE:
        return {} if own is None else {concept.name: own}
    return {name: name for name in RULES if name != own}


def _rate(model: str, set_: str, label: str, good: str, values: Sequence[float], n: int) -> Row:
    return summarise(model, set_, "detector_rate", values, n, label=label, share=True, direction=good)


def conditions(windows: Mapping[str, Tensor], height: float) -> dict[str, Table]:
    """Statistics of every style, for a table beside the real windows.

    Args:
        windows: by who made them (``real``, ``base`` …) ``(n, frames, 63)`` in real units.
        height: metres of the body that speeds are told for.

    Returns:
        by maker, style and statistic: mean, standard deviation and number of windows that have it.
    """
    return {name: _table(states, height) for name, states in windows.items()}


def _table(states: Tensor, height: float) -> Table:
    values, table = statistics(states, height), Table()
    for style, members in styles(states).items():
        table[style] = {}
        for name in NAMES:
            mine = values[name][members].double()
            mine = mine[mine.isfinite()]
            spread = float(mine.std()) if len(mine) > 1 else float("nan")
            table[style][name] = (float(mine.mean()) if len(mine) else float("nan"), spread, len(mine))
    return table


def conditions_markdown(tables: Mapping[str, Table]) -> str:
    """The tables of :func:`conditions` as Markdown: one per style, makers side by side, mean ± standard deviation."""
    makers = list(tables)
    lines = ["## Gait by style", "", "Mean ± standard deviation over windows that the rules name so.", ""]
    for style in RULES:
        counts = ", ".join(f"{name} {max(n for _, _, n in tables[name][style].values())}" for name in makers)
        lines += [f"### {style.replace('_', ' ')} ({counts})", "", "| statistic | " + " | ".join(makers) + " |"]
        lines += ["|---|" + "--:|" * len(makers)]
        for name in NAMES:
            cells = [_cell(*tables[maker][style][name]) for maker in makers]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(mean: float, spread: float, count: int) -> str:
    return "–" if not count else f"{mean:.3g} ± {spread:.2g}" if count > 1 else f"{mean:.3g}"
