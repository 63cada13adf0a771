"""What a job is going to do, counted before the work begins: the plan that is printed and the time left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from hmu.devices import of_module, speed_of
from hmu.methods.base import TrainedMethod
from hmu.phases import Part
from hmu.progress import plan
from hmu.workflows.job import Job


def announce_unlearning(job: Job) -> None:
    """Print the plan of ``unlearn.py``."""
    forget, retain = map(len, job.clips)
    name, dataset = job.method.name, job.source.name
    what = f"{name}, {_backbone(job)}, {dataset}, {speed_of(job.trainer_device)}"
    words = [f"{name} on {forget} forget and {retain} retain clips of '{dataset}'"]
    if isinstance(job.method, TrainedMethod):
        steps = job.method.total_steps(forget)
        parts = [
            Part("preparing clips", what=what),
            Part("training", steps, "steps", f"{what}, {job.method.batch_size}"),
        ]
        words.append(f"{steps} steps")
    else:
        parts = [Part("editing", what=what)]
    if job.config.evaluate:
        parts += _measuring(job, True, words)
    plan(parts, ", ".join(words))


def announce_evaluation(job: Job, edited: bool) -> None:
    """Print the plan of ``evaluate.py``; ``edited``: whether there is anything beside the base."""
    words = [f"{_backbone(job)} on '{job.source.name}'"]
    plan(list(_measuring(job, edited, words)), ", ".join(words))


def announce_training(job: Job, name: str, stages: Mapping[str, int], clips: int) -> None:
    """Print the plan of ``train.py``; ``name``: of the model; ``stages``: steps of each, in order."""
    where = speed_of(job.trainer_device)
    parts = [Part(f"training {stage}", steps, "steps", f"{name}, {where}") for stage, steps in stages.items()]
    words = ", ".join(f"{stage} {steps} steps" for stage, steps in stages.items())
    plan(parts, f"{name} on {clips} clips of '{job.source.name}', {words}")


def _measuring(job: Job, edited: bool, words: list[str]) -> Iterator[Part]:
    """The phases of :func:`hmu.workflows.measure.measure`; appends to ``words`` what they are."""
    suite, models = job.suite, 1 + edited + (job.config.reference is not None)
    prompts = sum(map(len, job.sets))
    asked = prompts * models * suite.repeats
    words.append(f"{_many(prompts, 'prompt')} × {_many(models, 'model')} × {_many(suite.repeats, 'seed')}")
    there = suite.plan(job.seed, job.generated).kept([job.base_model], job.sets)
    if there:
        words.append(f"{there} of {asked} motions are there already")
    what = f"{_backbone(job)}, {suite.steps or 'own'} steps, {speed_of(of_module(job.backbone))}"
    yield Part("generating", asked - there, "motions", what)
    yield Part("counting", asked, "motions", f"{suite.bootstrap} draws, {speed_of(torch.device('cpu'))}")
    yield Part("report", what=_backbone(job))


def _backbone(job: Job) -> str:
    return job.name("backbone") or job.backbone.name


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"
