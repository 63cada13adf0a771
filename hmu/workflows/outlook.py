"""What a job is going to do, counted before the work begins: the plan that is printed and the time left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig

from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.checkpoints.store import Store
from hmu.choices import choice
from hmu.durations import machine
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Model, Suite
from hmu.methods.base import Method, TrainedMethod
from hmu.methods.edit import fingerprint
from hmu.phases import Part
from hmu.progress import plan


def announce_unlearning(
    config: DictConfig,
    method: Method,
    backbone: MotionBackbone,
    sides: tuple[int, int],
    dataset: str,
    sets: Sequence[PromptSet],
) -> None:
    """Print the plan of ``unlearn.py``.

    Args:
        sides: numbers of forget and retain clips. sets: what will be asked; empty with ``evaluate=false``.
    """
    where = trained_on(str(config.trainer.accelerator))
    what = f"{method.name}, {_name(config, backbone)}, {dataset}, {where}"
    words = [f"{method.name} on {sides[0]} forget and {sides[1]} retain clips of '{dataset}'"]
    if isinstance(method, TrainedMethod):
        steps = method.total_steps(sides[0])
        parts = [Part("preparing clips", what=what), Part("training", steps, "steps", f"{what}, {method.batch_size}")]
        words.append(f"{steps} steps")
    else:
        parts = [Part("editing", what=what)]
    models = ["base", "unlearned"] + ["reference"] * (config.reference is not None)
    parts += measuring(config, backbone, sets, models, words)
    plan(parts, ", ".join(words))


def announce_evaluation(
    config: DictConfig, backbone: MotionBackbone, sets: Sequence[PromptSet], edited: bool, dataset: str
) -> None:
    """Print the plan of ``evaluate.py``; ``edited``: whether there is anything beside the base."""
    models = ["base"] + ["unlearned"] * edited + ["reference"] * (config.reference is not None)
    words = [f"{_name(config, backbone)} on '{dataset}'"]
    parts = list(measuring(config, backbone, sets, models, words))
    plan(parts, ", ".join(words))


def announce_training(config: DictConfig, name: str, stages: Mapping[str, int], clips: int, dataset: str) -> None:
    """Print the plan of ``train.py``; ``stages``: steps of each, in order."""
    where = trained_on(str(config.trainer.accelerator))
    parts = [Part(f"training {stage}", steps, "steps", f"{name}, {where}") for stage, steps in stages.items()]
    words = ", ".join(f"{stage} {steps} steps" for stage, steps in stages.items())
    plan(parts, f"{name} on {clips} clips of '{dataset}', {words}")


def measuring(
    config: DictConfig, backbone: MotionBackbone, sets: Sequence[PromptSet], models: Sequence[str], words: list[str]
) -> Iterator[Part]:
    """The phases of :func:`hmu.workflows.measure.measure`; appends to ``words`` what they are."""
    if not sets:
        return
    suite: Suite = instantiate(config.suite)
    prompts = sum(map(len, sets))
    asked = prompts * len(models) * suite.repeats
    words.append(f"{_many(prompts, 'prompt')} × {_many(len(models), 'model')} × {_many(suite.repeats, 'seed')}")
    cache = Store(Path(config.paths.cache) / "generated")
    there = suite.kept([Model("base", backbone, fingerprint(backbone))], sets, int(config.seed), cache)
    if there:
        words.append(f"{there} of {asked} motions are there already")
    where = machine(device_name(next(backbone.parameters()).device))
    what = f"{_name(config, backbone)}, {suite.steps or 'own'} steps, {where}"
    yield Part("generating", asked - there, "motions", what)
    yield Part("counting", asked, "motions", f"{suite.bootstrap} draws, {machine('cpu')}")
    yield Part("report", what=_name(config, backbone))


def trained_on(accelerator: str) -> str:
    """The device that a trainer with this accelerator uses, for what is remembered about speed."""
    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return machine(device_name(torch.device("cuda" if gpu else "cpu"))) if accelerator != "mps" else "mps"


def device_name(device: torch.device) -> str:
    """``cpu``, or which GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _name(config: DictConfig, backbone: MotionBackbone) -> str:
    return str(choice("backbone", config) or backbone.name)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"
