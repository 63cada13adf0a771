"""What jobs on gait do differently: which suite measures them, and what their report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from hmu.build import get_class
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.evaluation.gait import GaitSuite, conditions, conditions_markdown, rule_of
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Answers
from hmu.gait.cycles import gait_cycles
from hmu.gait.figure import HEIGHT, gait_stick_figure
from hmu.gait.rules import RULES
from hmu.gait.source import GaitSource
from hmu.run import write_text

GROUPS = ("suite", "evaluator")
SHOWN = 3  # windows in animations


def is_gait(config: DictConfig) -> bool:
    """Whether the configured data set holds gait trials."""
    return issubclass(get_class(config.dataset._target_), GaitSource)


def settle_suite(config: DictConfig) -> DictConfig:
    """The configuration; on gait with ``suite=gait evaluator=gait``, unless the command line chooses others.

    Single keys of the command line (``suite.repeats=1``) are kept.

    Raises:
        ConfigError: a suite that needs text was chosen for gait, or a key that its suite does not have.
    """
    if not is_gait(config):
        return config
    given = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    keys = [entry.lstrip("+~").split("=")[0] for entry in given]
    settled = config.copy()
    OmegaConf.set_struct(settled, False)
    for group in GROUPS:
        if group in keys:
            continue
        settled[group] = compose(f"{group}/gait")[group]
        for key in keys:
            if key.startswith(f"{group}."):
                if key.split(".")[1] not in settled[group]:
                    raise ConfigError(f"{key}: gait is measured with {group}=gait, which has no such key")
                OmegaConf.update(settled, key, OmegaConf.select(config, key), merge=False)
    if not issubclass(get_class(settled.suite._target_), GaitSuite):
        raise ConfigError("the chosen suite asks by captions, and gait has none: use suite=gait")
    return settled


def windows_of(sets: Sequence[PromptSet], answers: Mapping[str, Mapping[str, Answers]]) -> dict[str, Tensor]:
    """Windows by who made them: ``real`` ones of all sets, then those of every model (of its largest set)."""
    real = [prompts.real.motion for prompts in sets if prompts.real is not None and prompts.name != "neighbours"]
    largest = max(sets, key=len).name
    made = {model: torch.cat(found[largest].motions) for model, found in answers.items()}
    return {"real": torch.cat(real), **made}


def tell(
    sets: Sequence[PromptSet],
    answers: Mapping[str, Mapping[str, Answers]],
    concept: Concept,
    folder: Path,
    height: float = HEIGHT,
) -> None:
    """Add tables by style to ``report.md`` and write the pictures of ``samples/``.

    ``before_after.gif``: the first windows that are of the concept in the base, beside what the other models make of
    the same noise. ``cycles_<style>.png``: angles and forces over the gait cycle, real windows beside generated ones.
    """
    from hmu.viz.gait import cycle_plot, gait_gif

    windows = windows_of(sets, answers)
    report = folder / "report.md"
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    write_text(report, f"{text}\n{conditions_markdown(conditions(windows, height))}")
    models = {name: found for name, found in windows.items() if name != "real"}
    rule = rule_of(concept)
    order = torch.arange(len(models["base"]))
    if rule is not None:  # windows of the concept come first
        order = torch.argsort(~RULES[rule](models["base"]), stable=True)
    for number, i in enumerate(order[:SHOWN].tolist(), start=1):
        panels = [(name, gait_stick_figure(found[i], height)) for name, found in models.items()]
        name = "before_after.gif" if number == 1 else f"before_after_{number}.gif"
        gait_gif(panels, folder / "samples" / name, caption="equal noise")
    for style, members in RULES.items():
        groups = {name: gait_cycles(found[members(found)]) for name, found in windows.items()}
        if any(map(len, groups.values())):
            cycle_plot(groups, folder / "samples" / f"cycles_{style}.png", title=style.replace("_", " "))
