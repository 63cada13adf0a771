"""Metrics × sets × repeats, for several models on equal prompts and equal noise."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.store import Store
from hmu.checks import DAY, require, require_time
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.evaluation.counting import Measured, Resampling, count
from hmu.evaluation.detecting import Hits, look, rates
from hmu.evaluation.embedding import EmbeddingStore
from hmu.evaluation.embedding import embed as embed
from hmu.evaluation.generation import encode, generate, motions_key
from hmu.evaluation.ncs import Answering
from hmu.evaluation.recovery import compare
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.size import MOTION_SECONDS
from hmu.evaluators.base import Evaluator
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.values import Value, by_evaluator
from hmu.phases import Phase
from hmu.processes import everywhere, group
from hmu.progress import phase
from hmu.values import Count

log = logging.getLogger(__name__)

DRAW_SECONDS = 0.001  # no draw over all metrics is faster
PLENTY = 10_000  # limits are often "above every count": estimates take no more prompts than this for granted


@dataclass(frozen=True)
class Model:
    """One column of the table.

    Attributes:
        name: ``base``, ``unlearned`` or ``reference``.
        backbone: the generator; change: applied while it is asked (the edit), a context manager.
        fingerprint: identity of backbone and change together, for the cache of generated motions.
    """

    name: str
    backbone: MotionBackbone
    fingerprint: str
    change: Callable[[], AbstractContextManager[object]] = nullcontext

    @cached_property
    def told(self) -> dict[str, object]:
        """What its answers depend on besides ``fingerprint``, which covers the edited network only."""
        backbone = self.backbone
        plain = {k: v for k, v in vars(backbone).items() if isinstance(v, str | bool) and not k.startswith("_")}
        plain.pop("training")
        text = getattr(backbone, "text", None)
        return {
            "settings": plain,  # variant …
            "sampling": repr(getattr(backbone, "sampling", None)),  # the backbone's own guidance, scheduler …
            "weights": repr(backbone.provenance()),
            "text": None if text is None else text.fingerprint,
        }


@dataclass
class Answers:
    """What one model answered to one set, per repeat."""

    motions: list[Tensor] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)


#: adds to a report: sets, answers by model and set, concept, folder of samples -> lines of Markdown
Pages = Callable[[Sequence[PromptSet], Mapping[str, Mapping[str, Answers]], Concept, Path], list[str]]


class Suite:
    """Which numbers, on which prompts, how often.

    Args:
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

    Raises:
        ConfigError: for a suite that measures nothing, and for values below what their meaning allows.
    """

    captioned: ClassVar[bool] = True  #: whether models are asked by captions, which their data must have

    def __init__(
        self,
        metrics: Mapping[str, MotionMetric],
        limits: Mapping[str, Annotated[int, ">= 0"]],
        repeats: Count = 1,
        guidance: float | None = None,
        steps: Count | None = None,
        batch_size: Count = 64,
        split: str = "test",
        bootstrap: Annotated[int, ">= 0"] = 200,
        gallery: str | None = None,
        gallery_self: bool = False,
        pages: Pages | None = None,
    ) -> None:
        for key, value in {"repeats": repeats, "batch_size": batch_size}.items():
            require(f"suite.{key}", value, at_least=1, whole=True)
        require("suite.bootstrap", bootstrap, at_least=0, whole=True)
        require("suite.steps", steps, at_least=1, whole=True, null=True)
        require("suite.guidance", guidance, null=True)
        for name, metric in metrics.items():
            if not isinstance(metric, MotionMetric):
                raise ConfigError(f"suite.metrics.{name}: expected a metric, +metric@suite.metrics.{name}=…")
        for name, most in limits.items():
            require(f"suite.limits.{name}", most, at_least=0, whole=True)
        if not limits or not any(limits.values()):
            raise ConfigError("suite.limits leaves every set out: give at least one of them a number above 0")
        asked = sum(min(most, PLENTY) for most in limits.values())
        require_time("suite.repeats", repeats, repeats * asked, MOTION_SECONDS, "motions of each model")
        require_time("suite.bootstrap", bootstrap, bootstrap, DRAW_SECONDS, "draws", limit=DAY)
        self.metrics, self.limits, self.repeats = dict(metrics), dict(limits), repeats
        self.guidance, self.steps, self.batch_size, self.split = guidance, steps, batch_size, split
        self.bootstrap, self.gallery, self.gallery_self, self.pages = bootstrap, gallery, gallery_self, pages
        self.answering: Answering | None = None  # whoever knows the data set gives it
        self.store = EmbeddingStore(None)

    def run(
        self,
        models: Sequence[Model],
        sets: Sequence[PromptSet],
        evaluator: Evaluator,
        concept: Concept,
        seed: int,
        cache: Store,
    ) -> tuple[list[Row], dict[str, dict[str, Answers]]]:
        """Ask every model every prompt ``repeats`` times, count, and compare with the base and the reference.

        Returns:
            rows of ``metrics.json``, and the answers by model and set.
        """
        measured, answers = self.measure(models, sets, evaluator, concept, seed, cache)
        order = {prompts.name: number for number, prompts in enumerate(sets)}
        return sorted(compare(measured), key=lambda row: order[row.set]), answers

    def measure(
        self,
        models: Sequence[Model],
        sets: Sequence[PromptSet],
        evaluator: Evaluator,
        concept: Concept,
        seed: int,
        cache: Store,
    ) -> tuple[dict[str, list[Measured]], dict[str, dict[str, Answers]]]:
        """As :meth:`run`, before the comparison: what was measured on each model, and the answers."""
        answers = self.ask(models, sets, evaluator, seed, cache)
        total = len(models) * self.repeats * sum(len(prompts) for prompts in sets)
        with phase("counting", total, "motions") as done:
            return self._measured(models, sets, evaluator, concept, answers, done), answers

    def _measured(
        self,
        models: Sequence[Model],
        sets: Sequence[PromptSet],
        evaluator: Evaluator,
        concept: Concept,
        answers: Mapping[str, Mapping[str, Answers]],
        done: Phase,
    ) -> dict[str, list[Measured]]:
        measured: dict[str, list[Measured]] = {model.name: [] for model in models}
        for prompts in sets:
            fixed = replace(self._fixed(prompts, evaluator, concept), fps=models[0].backbone.fps)
            others = {
                name: (other, replace(self._fixed(prompts, other, concept), fps=fixed.fps))
                for name, other in getattr(evaluator, "others", {}).items()
            }
            resampling = Resampling(len(prompts), self.bootstrap)
            for model in models:
                found = answers[model.name][prompts.name]
                measured[model.name] += self._count(model.name, prompts, found, fixed, concept, resampling)
                measured[model.name] += self._count_others(model.name, prompts, found, others, resampling)
                if self.answering is not None:
                    near = self._embedded(self.answering.evaluator, evaluator, prompts, found)
                    measured[model.name] += self.answering.measured(model.name, prompts, near, concept, resampling)
                done.advance(len(prompts) * self.repeats)
        return measured

    def ask(
        self,
        models: Sequence[Model],
        sets: Sequence[PromptSet],
        evaluator: Evaluator,
        seed: int,
        cache: Store,
    ) -> dict[str, dict[str, Answers]]:
        """Every model's answers to every set, by model and set; what ``cache`` holds is not generated again.

        Called in every process of a group, they share the work, and all get all answers. A process that is killed
        leaves behind whole repeats of whole sets: the next call goes on from there.
        """
        self.store = EmbeddingStore(None if cache.folder is None else cache.folder.parent / "embeddings")
        answers: dict[str, dict[str, Answers]] = {model.name: {} for model in models}
        total = len(models) * self.repeats * sum(len(prompts) for prompts in sets)
        self._check_room(models, sets, seed, cache)
        with phase("generating", total, "motions") as done:
            for model in models:
                with model.change():
                    for prompts in sets:
                        answers[model.name][prompts.name] = self._ask(model, prompts, evaluator, seed, cache, done)
        return answers

    def real_rates(self, sets: Sequence[PromptSet], concept: Concept) -> dict[str, dict[str, float]]:
        """How often the detectors see in the *real* clips of a set what is counted there: the judge's own ceiling.

        Returns:
            by set, then by action; ``all`` is the share over everything that captions ask for.
        """
        found: dict[str, dict[str, float]] = {}
        for prompts in sets:
            if prompts.real is not None and prompts.representation.rules:
                hits = [look(prompts, prompts.real.motion, concept)]
                seen = rates("real", prompts, hits, concept, Resampling(1, 0))
                found[prompts.name] = {one.row.label or "all": one.row.value for one in seen}
        return found

    def _ask(
        self, model: Model, prompts: PromptSet, evaluator: Evaluator, seed: int, cache: Store, done: Phase
    ) -> Answers:
        found, condition = Answers(), None
        for repeat in range(self.repeats):
            key = self._key(model, prompts, seed + repeat)
            motion = everywhere(cache.load(key))
            if motion is None:
                condition = encode(model.backbone, prompts) if condition is None else condition
                motion = generate(
                    model.backbone,
                    prompts,
                    seed=seed + repeat,
                    batch_size=self.batch_size,
                    guidance=self.guidance,
                    steps=self.steps,
                    condition=condition,
                    done=done.advance,
                )
                if group()[0] == 0:
                    motion = cache.save(key, motion)
            else:
                done.skip(len(prompts))
            found.motions.append(motion)
            found.embeddings.append(self.store.motion(evaluator, motion, prompts.lengths))
        return found

    def _key(self, model: Model, prompts: PromptSet, seed: int) -> str:
        settings = {
            "seed": seed,
            "guidance": self.guidance,
            "steps": self.steps,
            "batch": self.batch_size,
            **model.told,
        }
        return motions_key(model.fingerprint, prompts, settings)

    def kept(self, models: Sequence[Model], sets: Sequence[PromptSet], seed: int, cache: Store) -> int:
        """How many of the motions that :meth:`ask` needs ``cache`` holds already."""
        asked = itertools.product(models, sets, range(self.repeats))
        return sum(len(prompts) for model, prompts, r in asked if self._key(model, prompts, seed + r) in cache)

    def _check_room(self, models: Sequence[Model], sets: Sequence[PromptSet], seed: int, cache: Store) -> None:
        """Refuse before the first forward what the disk cannot hold."""
        missing: dict[str, int] = {}
        for model, prompts in itertools.product(models, sets):
            size = 4 * len(prompts) * int(prompts.lengths.max()) * model.backbone.features
            for repeat in range(self.repeats):
                missing.setdefault(self._key(model, prompts, seed + repeat), size)
        cache.check_room(missing, "generated motions")

    def _count_others(
        self,
        model: str,
        prompts: PromptSet,
        answers: Answers,
        others: Mapping[str, tuple[Evaluator, EvalSamples]],
        resampling: Resampling,
    ) -> Iterator[Measured]:
        """What reads embeddings, by further evaluators; the names carry the evaluator's (``fid@tmr``)."""
        chosen = {k: m for k, m in self.metrics.items() if {"generated", "repeats"} & set(m.inputs)}
        for name, (other, fixed) in others.items():
            near = [self.store.motion(other, motion, prompts.lengths) for motion in answers.motions]
            samples = (replace(fixed, generated=one, repeats=torch.stack(near, 1)) for one in near)
            yield from count(chosen, samples, resampling, partial(_row, model, prompts, name), prompts.name)

    def _embedded(self, wanted: Evaluator, used: Evaluator, prompts: PromptSet, found: Answers) -> Sequence[Tensor]:
        """Embeddings of every repeat by ``wanted``; those at hand where it is the evaluator in use."""
        if wanted is used:
            return found.embeddings
        return [self.store.motion(wanted, motion, prompts.lengths) for motion in found.motions]

    def _fixed(self, prompts: PromptSet, evaluator: Evaluator, concept: Concept) -> EvalSamples:
        """What does not depend on the model: text and real embeddings, computed once."""
        store, captions = self.store, prompts.captions
        text = store.text(evaluator, captions)
        masked, changed = store.masked(evaluator, captions, concept, "clean")
        hmu, changed_hmu = store.masked(evaluator, captions, concept, "hmu")
        real = None if prompts.real is None else store.motion(evaluator, prompts.real.motion, prompts.real.lengths)
        meaning = any("sentence" in metric.inputs for metric in self.metrics.values())
        sentence = store.sentences(evaluator, [c.text for c in captions]) if meaning else None
        ids = tuple(f"{i}" for i in range(len(prompts)))
        return EvalSamples(
            real=real, text=text, sentence=sentence, masked=masked, changed=changed, masked_hmu=hmu,
            changed_hmu=changed_hmu, batch=torch.arange(len(prompts)) // 32, captions=prompts.captions, ids=ids,
            lengths=prompts.lengths,
        )  # fmt: skip

    def _count(
        self,
        model: str,
        prompts: PromptSet,
        answers: Answers,
        fixed: EvalSamples,
        concept: Concept,
        resampling: Resampling,
    ) -> Iterator[Measured]:
        every, hits, known = torch.stack(answers.embeddings, 1), list[Hits](), prompts.representation

        def samples() -> Iterator[EvalSamples]:
            for motion, embedding in zip(answers.motions, answers.embeddings, strict=True):
                joints = known.joints(motion) if known.smpl_joints else None  # of one repeat at a time
                if known.rules:
                    hits.append(look(prompts, motion, concept))
                yield replace(fixed, generated=embedding, repeats=every, joints=joints)

        yield from count(self.metrics, samples(), resampling, partial(_row, model, prompts, ""), prompts.name)
        yield from rates(model, prompts, hits, concept, resampling)


def _row(model: str, prompts: PromptSet, evaluator: str, value: Value, values: Sequence[float]) -> Row:
    """``evaluator``: of a further one, whose numbers carry its name; empty for the suite's own."""
    value = by_evaluator(value, evaluator) if evaluator else value
    return summarise(model, prompts.name, value, values, len(prompts))
