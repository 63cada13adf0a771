"""Metrics × sets × repeats, for several models on equal prompts and equal noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hmu.checkpoints.store import Store
from hmu.checks import check_fields, require_memory, require_time
from hmu.data.concepts import Concept
from hmu.durations import DAY
from hmu.errors import ConfigError
from hmu.evaluation.counting import Measured, Resampling, Tally, check_distinct
from hmu.evaluation.detecting import look, rates
from hmu.evaluation.embedding import EmbeddingStore
from hmu.evaluation.gallery import NcsGallery
from hmu.evaluation.generation import NUMBER, Generated, Model, Plan
from hmu.evaluation.inputs import KNOWN, OF_REPEAT, OF_SET
from hmu.evaluation.recovery import compare
from hmu.evaluation.results import Row
from hmu.evaluation.sets import PromptSet
from hmu.evaluators.base import Evaluator
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.progress import phase
from hmu.values import Count, Whole

MOTION_SECONDS = 0.001  # that the fastest model here takes for a motion on the fastest machine
DRAW_SECONDS = 0.001  # no draw over all metrics is faster
DRAWN = 16  # bytes of a draw of the bootstrap per prompt
PLENTY = 10_000  # limits are often "above every count": estimates take no more prompts than this for granted

Models = Sequence[Model]
Sets = Sequence[PromptSet]
ByModel = Mapping[str, Mapping[str, Generated]]  #: what was generated, by model and set
#: adds to a report: sets, what was generated, concept, folder of samples -> lines of Markdown
Pages = Callable[[Sets, ByModel, Concept, Path], list[str]]


@dataclass(eq=False)
class Suite:
    """Which numbers, on which prompts, how often.

    Attributes:
        metrics: torchmetrics by name; one is used on a set if the set has what it needs.
        limits: largest number of prompts per set; 0 leaves a set out.
        repeats: generations of every prompt, with seeds ``seed, seed + 1, …``; 5 or more give intervals worth quoting.
        guidance, steps: of sampling; None = the backbone's own.
        batch_size: prompts per forward.
        split: whose prompts; ``val`` is there to choose settings without touching what is quoted.
        bootstrap: draws of prompts behind the intervals of values and recoveries; 0 draws nothing, and
            intervals then know the repeats only.
        gallery: real clips that answer what was generated (NCS, nearest captions): ``train``, ``test``, ``all``, or
            None for none; gallery_self: whether a prompt's own clip may be among its answers.
        pages: adds to the report what this kind of motion needs besides, a :data:`Pages`.
        ncs: the gallery, where there is one: whoever knows the data set gives it.

    Raises:
        ConfigError: for a suite that measures nothing, and for values below what their meaning allows.
    """

    metrics: Mapping[str, MotionMetric]
    limits: Mapping[str, Whole]
    repeats: Count
    batch_size: Count
    split: str
    bootstrap: Whole
    gallery: str | None
    pages: Pages | None
    guidance: float | None = None
    steps: Count | None = None
    gallery_self: bool = False
    ncs: NcsGallery | None = field(default=None, init=False)
    store: EmbeddingStore = field(default_factory=EmbeddingStore, init=False)

    def __post_init__(self) -> None:
        check_fields(self, "suite")
        for name, metric in self.metrics.items():
            check_metric(f"suite.metrics.{name}", metric)
        check_distinct(self.metrics)
        if not any(self.limits.values()):
            raise ConfigError("suite.limits leaves every set out: give at least one of them a number above 0")
        asked = self.repeats * sum(min(most, PLENTY) for most in self.limits.values())
        require_time("suite.repeats", self.repeats, asked, MOTION_SECONDS, "motions of each model")
        require_time("suite.bootstrap", self.bootstrap, self.bootstrap, DRAW_SECONDS, "draws", limit=DAY)

    def check_size(self, models: Models, sets: Sets, width: int, cache: Store) -> None:
        """Refuse what time, memory or the disk of ``cache`` does not allow; ``width``: of an embedding."""
        motions = self.total(models, sets)
        require_time("suite.repeats", self.repeats, motions, MOTION_SECONDS, "motions", limit=30 * DAY)
        require_memory("suite.repeats", self.repeats, NUMBER * width * motions, "the embeddings")
        require_memory("suite.bootstrap", self.bootstrap, DRAWN * self.bootstrap * max(map(len, sets)), "the draws")
        self.plan(0, cache).check_room(models, sets)

    def run(
        self, models: Models, sets: Sets, evaluator: Evaluator, concept: Concept, seed: int, cache: Store
    ) -> tuple[list[Row], ByModel]:
        """Ask every model every prompt ``repeats`` times, count, and compare with the base and the reference.

        Returns:
            rows of ``metrics.json``, and what was generated by model and set.
        """
        measured, generated = self.measure(models, sets, evaluator, concept, seed, cache)
        order = {prompts.name: number for number, prompts in enumerate(sets)}
        return sorted(compare(measured), key=lambda row: order[row.set]), generated

    def measure(
        self, models: Models, sets: Sets, evaluator: Evaluator, concept: Concept, seed: int, cache: Store
    ) -> tuple[dict[str, list[Measured]], ByModel]:
        """As :meth:`run`, before the comparison: what was measured on each model, and what was generated."""
        generated = self.ask(models, sets, evaluator, seed, cache)
        measured: dict[str, list[Measured]] = {model.name: [] for model in models}
        facts = {"concept": concept, "fps": models[0].backbone.fps, "store": self.store, **OF_SET}
        with phase("counting", self.total(models, sets), "motions") as done:
            for prompts in sets:
                inputs = {"prompts": prompts, **facts}
                others = {k: EvalSamples(evaluator=e, **inputs) for k, e in getattr(evaluator, "others", {}).items()}
                shared = EvalSamples(evaluator=evaluator, others=others, **inputs)
                resampling = Resampling(len(prompts), self.bootstrap)
                for model in models:
                    tally = Tally(model.name, prompts.name, resampling)
                    measured[model.name] += self.count(tally, generated[model.name][prompts.name], shared)
                    done.advance(len(prompts) * self.repeats)
        return measured, generated

    def ask(self, models: Models, sets: Sets, evaluator: Evaluator, seed: int, cache: Store) -> ByModel:
        """What every model generates for every set; what ``cache`` holds is not generated again.

        Called in every process of a group, they share the work, and all get everything. A process that is killed
        leaves behind whole repeats of whole sets: the next call goes on from there.
        """
        self.store = EmbeddingStore(cache.folder and cache.folder.parent / "embeddings")
        plan = self.plan(seed, cache)
        plan.check_room(models, sets)
        generated: dict[str, dict[str, Generated]] = {model.name: {} for model in models}
        with phase("generating", self.total(models, sets), "motions") as done:
            for model in models:
                with model.change():
                    for prompts in sets:
                        of_set = generated[model.name][prompts.name] = Generated()
                        for motion in plan.motions(model, prompts, done):
                            of_set.motions.append(motion)
                            of_set.embeddings.append(self.store.motion(evaluator, motion, prompts.lengths))
        return generated

    def plan(self, seed: int, cache: Store) -> Plan:
        """How models are asked."""
        return Plan(self.repeats, seed, self.batch_size, self.guidance, self.steps, cache)

    def total(self, models: Models, sets: Sets) -> int:
        """How many motions are generated."""
        return len(models) * self.repeats * sum(map(len, sets))

    def real_rates(self, sets: Sets, concept: Concept) -> dict[str, dict[str, float]]:
        """How often the detectors see in the *real* clips of a set what is counted there: the judge's own ceiling.

        Returns:
            by set, then by action; ``all`` is the share over everything that captions ask for.
        """
        shares: dict[str, dict[str, float]] = {}
        for prompts in sets:
            if prompts.real is not None and prompts.representation.rules:
                hits = [look(prompts, prompts.real.motion, concept)]
                tally = Tally("real", prompts.name, Resampling(len(prompts), 0))
                rows = [entry.row for entry in rates(tally, prompts, hits, concept)]
                shares[prompts.name] = {row.label or "all": row.value for row in rows}
        return shares

    def count(self, tally: Tally, generated: Generated, shared: EvalSamples) -> Iterator[Measured]:
        """Every number of one model on one set; ``shared``: the inputs that all models share."""
        prompts, concept, hits = shared["prompts"], shared["concept"], []
        yield from tally.metrics(self.metrics, self._samples(shared, generated))
        if prompts.representation.rules:
            hits = [look(prompts, motion, concept) for motion in generated.motions]
        yield from rates(tally, prompts, hits, concept)
        metrics = {k: m for k, m in self.metrics.items() if {"generated", "repeats"} & set(m.inputs)}
        for name, theirs in shared["others"].items():  # what reads embeddings, by further evaluators: ``fid@tmr``
            embedded = self._embedded(theirs["evaluator"], generated, shared)
            yield from tally.metrics(metrics, self._samples(theirs, embedded), name)
        if self.ncs is not None:
            embeddings = self._embedded(self.ncs.evaluator, generated, shared).embeddings
            yield from self.ncs.measured(tally, prompts, embeddings, concept)

    def _samples(self, shared: EvalSamples, generated: Generated) -> Iterator[EvalSamples]:
        """The inputs of every repeat."""
        providers = {name: make for metric in self.metrics.values() for name, make in metric.providers.items()}
        repeats, own = torch.stack(generated.embeddings, 1), {**OF_REPEAT, **providers}
        for motion, embedding in zip(generated.motions, generated.embeddings, strict=True):
            yield EvalSamples(shared, motion=motion, generated=embedding, repeats=repeats, **own)

    def _embedded(self, evaluator: Evaluator, generated: Generated, shared: EvalSamples) -> Generated:
        """``generated`` with embeddings by ``evaluator``; those at hand where it is the suite's own."""
        if evaluator is shared["evaluator"]:
            return generated
        lengths = shared["prompts"].lengths
        return Generated(generated.motions, [self.store.motion(evaluator, m, lengths) for m in generated.motions])


def check_metric(key: str, metric: object) -> None:
    """ConfigError for what is no metric, or asks for an input that nobody provides."""
    if not isinstance(metric, MotionMetric):
        raise ConfigError(f"{key}: expected a metric, +metric@{key}=…")
    unknown = [entry for entry in metric.inputs if entry not in {*KNOWN, *metric.providers}]
    if unknown:
        raise ConfigError(
            f"{key}: nobody provides its input '{unknown[0]}'; bring it as {type(metric).__name__}.providers"
        )
