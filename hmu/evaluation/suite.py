"""Metrics × sets × repeats, for several models on equal prompts and equal noise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from hmu.backbones.base import MotionBackbone
from hmu.data.concepts import Concept
from hmu.errors import ConfigError, DataError
from hmu.evaluation.generation import GenerationCache, generate
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import PromptSet
from hmu.evaluators.base import Evaluator
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.motion import detectors
from hmu.motion.features import features_to_joints
from hmu.motion.skeleton import skeleton_for

log = logging.getLogger(__name__)

#: what is good on a set that should be kept; on the forget side only the concept's own rate has a direction
KEEP = {"fid": "lower", "mm_dist": "lower", "kernel_distance": "lower", "detector_rate": "higher", "diversity": "same"}
MASKED = ("changed", "changed_hmu")
FORGET_SIDE = ("forget", "paraphrase", "implicit")


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


@dataclass
class Answers:
    """What one model answered to one set, per repeat."""

    motions: list[Tensor] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)


class Suite:
    """Which numbers, on which prompts, how often.

    Args:
        metrics: torchmetrics by name; one is used on a set if the set has what it needs.
        limits: largest number of prompts per set; 0 leaves a set out.
        repeats: generations of every prompt, with seeds ``seed, seed + 1, …``; 5 or more give intervals worth quoting.
        guidance, steps: of sampling; None = the backbone's own.
        batch_size: prompts per forward.
        split: whose prompts; ``val`` is there to choose settings without touching what is quoted.

    Raises:
        ConfigError: for a suite that measures nothing.
    """

    def __init__(
        self,
        metrics: Mapping[str, MotionMetric],
        limits: Mapping[str, int],
        repeats: int = 1,
        guidance: float | None = None,
        steps: int | None = None,
        batch_size: int = 64,
        split: str = "test",
    ) -> None:
        if repeats < 1 or batch_size < 1:
            raise ConfigError("suite: repeats and batch_size must be at least 1")
        if not limits or not any(limits.values()):
            raise ConfigError("suite.limits leaves every set out: give at least one of them a number above 0")
        self.metrics, self.limits, self.repeats = dict(metrics), dict(limits), repeats
        self.guidance, self.steps, self.batch_size, self.split = guidance, steps, batch_size, split

    def run(
        self,
        models: Sequence[Model],
        sets: Sequence[PromptSet],
        evaluator: Evaluator,
        concept: Concept,
        seed: int,
        cache: GenerationCache,
    ) -> tuple[list[Row], dict[str, dict[str, Answers]]]:
        """Ask every model every prompt ``repeats`` times and count.

        Returns:
            rows of ``metrics.json``, and the answers by model and set.
        """
        answers: dict[str, dict[str, Answers]] = {model.name: {} for model in models}
        bar = tqdm(total=len(models) * len(sets) * self.repeats, desc="evaluating", unit="set", leave=False)
        for model in models:
            with model.change():
                for prompts in sets:
                    answers[model.name][prompts.name] = self._ask(model, prompts, evaluator, seed, cache, bar)
        bar.close()
        rows: list[Row] = []
        for prompts in sets:
            fixed = self._fixed(prompts, evaluator, concept)
            for model in models:
                rows += self._count(model.name, prompts, answers[model.name][prompts.name], fixed, concept)
        return rows, answers

    def real_rates(self, sets: Sequence[PromptSet], concept: Concept) -> dict[str, dict[str, float]]:
        """How often the detectors see in the *real* clips of a set what is counted there: the judge's own ceiling.

        Returns:
            by set, then by action; ``all`` is the share over everything that captions ask for.
        """
        found: dict[str, dict[str, float]] = {}
        for prompts in sets:
            if prompts.real is not None:
                rows = self._detect("real", prompts, Answers([prompts.real.motion]), concept)
                found[prompts.name] = {row.label or "all": row.value for row in rows}
        return found

    def _ask(
        self, model: Model, prompts: PromptSet, evaluator: Evaluator, seed: int, cache: GenerationCache, bar: tqdm[None]
    ) -> Answers:
        found = Answers()
        for repeat in range(self.repeats):
            settings = {
                "seed": seed + repeat,
                "guidance": self.guidance,
                "steps": self.steps,
                "batch": self.batch_size,
                "sampling": repr(getattr(model.backbone, "sampling", None)),  # the backbone's own guidance, scheduler …
                "weights": repr(model.backbone.provenance()),  # fingerprints cover the edited network only
            }
            key = cache.key(model.fingerprint, prompts, settings)
            motion = cache.load(key)
            if motion is None:
                motion = generate(
                    model.backbone,
                    prompts,
                    seed=seed + repeat,
                    batch_size=self.batch_size,
                    guidance=self.guidance,
                    steps=self.steps,
                )
                cache.save(key, motion)
            found.motions.append(motion)
            found.embeddings.append(embed(evaluator, motion, prompts.lengths))
            bar.update()
        return found

    def _fixed(self, prompts: PromptSet, evaluator: Evaluator, concept: Concept) -> EvalSamples:
        """What does not depend on the model: text and real embeddings, computed once."""
        with torch.inference_mode():
            text = evaluator.embed_text(prompts.captions)
            masked, changed = evaluator.embed_text_masked(prompts.captions, concept)
            hmu, changed_hmu = evaluator.embed_text_masked(prompts.captions, concept, "hmu")
        real = None if prompts.real is None else embed(evaluator, prompts.real.motion, prompts.real.lengths)
        ids = tuple(f"{i}" for i in range(len(prompts)))
        return EvalSamples(
            real=real, text=text, masked=masked, changed=changed, masked_hmu=hmu, changed_hmu=changed_hmu,
            batch=torch.arange(len(prompts)) // 32, captions=prompts.captions, ids=ids, lengths=prompts.lengths,
        )  # fmt: skip

    def _count(
        self, model: str, prompts: PromptSet, answers: Answers, fixed: EvalSamples, concept: Concept
    ) -> Iterable[Row]:
        values: dict[str, list[float]] = {}
        every = torch.stack(answers.embeddings, 1)
        for repeat, embedding in enumerate(answers.embeddings):
            samples = EvalSamples(**{**vars(fixed), "generated": embedding, "repeats": every})
            for metric in self.metrics.values():
                if not samples.has(metric.inputs) or ("repeats" in metric.inputs and repeat):
                    continue  # multimodality looks at all repeats at once
                if any(name in metric.inputs and not bool(getattr(fixed, name).any()) for name in MASKED):
                    continue  # nothing was masked: these prompts do not name the concept
                metric.reset()
                metric.update(samples)
                try:
                    measured = metric.compute()
                except DataError as error:  # a set too small for this metric must not lose the others
                    log.warning("set '%s': %s; left out", prompts.name, error)
                    continue
                for name, value in measured.items():
                    values.setdefault(name, []).append(value)
        keep = prompts.name not in FORGET_SIDE
        for name, listed in values.items():
            good = "higher" if name.startswith("r_precision") else KEEP.get(name, "reference")
            yield summarise(model, prompts.name, name, listed, len(prompts), direction=good if keep else "reference")
        yield from self._detect(model, prompts, answers, concept)

    def _detect(self, model: str, prompts: PromptSet, answers: Answers, concept: Concept) -> Iterable[Row]:
        """Share of motions in which the concept is seen, and in which what a caption asks for is seen."""
        if answers.motions[0].shape[-1] != 263:  # the rules know the 22-joint skeleton only
            return
        keep = prompts.name not in FORGET_SIDE
        wanted = {name for name in prompts.actions if name != concept.name and keep}
        labels = sorted(wanted | ({concept.name} if concept.detector else set()))
        named = {label: (concept.detector if label == concept.name else label) for label in labels}
        hits: dict[str, list[float]] = {label: [] for label in labels}
        overall = []
        for motion in answers.motions:
            joints = joints_of(motion)
            found = {
                k: torch.from_numpy(detectors.detect(str(v), joints, prompts.lengths.numpy())) for k, v in named.items()
            }
            right = asked = 0
            for label, seen in found.items():
                mask = prompts.actions[label] if label in wanted else torch.ones(len(prompts), dtype=torch.bool)
                hits[label].append(float(seen[mask].double().mean()))
                if label in wanted:
                    right, asked = right + int(seen[mask].sum()), asked + int(mask.sum())
            overall.append(right / asked if asked else float("nan"))
        for label in labels:
            count = int(prompts.actions[label].sum()) if label in wanted else len(prompts)
            good = "lower" if label == concept.name else "higher"
            yield summarise(
                model, prompts.name, "detector_rate", hits[label], count, label=label, share=True, direction=good
            )
        if wanted:
            asked = sum(int(prompts.actions[label].sum()) for label in wanted)
            yield summarise(model, prompts.name, "detector_rate", overall, asked, share=True, direction="higher")


def embed(evaluator: Evaluator, motion: Tensor, lengths: Tensor, batch_size: int = 256) -> Tensor:
    """Motion embeddings ``(n, width)`` on the CPU, in order, computed in chunks."""
    device = next(evaluator.parameters()).device
    with torch.inference_mode():
        parts = [
            evaluator.embed_motion(m[:, : int(n.max())].to(device), n.to(device)).cpu()
            for m, n in zip(motion.split(batch_size), lengths.split(batch_size), strict=True)
        ]
    return torch.cat(parts)


def joints_of(motion: Tensor) -> Tensor:
    """Features in real units ``(..., frames, features)`` to joints ``(..., frames, joints, 3)``, metres."""
    return features_to_joints(motion, skeleton_for(motion.shape[-1]))
