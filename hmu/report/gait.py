"""What ``configs/suite/gait.yaml`` adds to a report: statistics by style, animated windows, curves over the cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import ByModel
from hmu.gait.cycles import gait_cycles
from hmu.gait.figure import HEIGHT
from hmu.gait.representation import GAIT
from hmu.gait.rules import RULES, styles
from hmu.gait.statistics import NAMES, statistics
from hmu.report.samples import write_animations
from hmu.report.table import Column, Table
from hmu.viz.gait import VIEW, cycle_plot


def write_pages(sets: Sequence[PromptSet], generated: ByModel, concept: Concept, samples: Path) -> list[str]:
    """Write pictures into ``samples``; returns lines of Markdown.

    ``before_after.gif``: the first windows that are of the concept in the base, beside what the other models make of
    the same noise. ``cycles_<style>.png``: angles and forces over the gait cycle, real windows beside generated ones.
    """
    windows = windows_of(sets, generated)
    models = {name: states for name, states in windows.items() if name != "real"}
    judge, base = GAIT.judge(concept), models["base"]
    order = torch.arange(len(base))
    if judge is not None:  # windows of the concept come first
        order = torch.argsort(~judge(base, torch.full((len(base),), base.shape[1])), stable=True)
    shown = [("equal noise", {name: states[i] for name, states in models.items()}) for i in order.tolist()]
    write_animations(samples, shown, GAIT, GAIT.fps, **VIEW)
    for style, members in RULES.items():
        groups = {name: gait_cycles(states[members(states)]) for name, states in windows.items()}
        if any(map(len, groups.values())):
            cycle_plot(groups, samples / f"cycles_{style}.png", title=style.replace("_", " "))
    return ["", *gait_markdown(windows)]


def windows_of(sets: Sequence[PromptSet], generated: ByModel) -> dict[str, Tensor]:
    """Windows ``(n, frames, 63)`` by who made them: ``real`` ones of all sets, models in their largest set."""
    real = [prompts.real.motion for prompts in sets if prompts.real is not None and prompts.name != "neighbours"]
    largest = max(sets, key=len).name
    return {"real": torch.cat(real)} | {
        model: torch.cat(of_model[largest].motions) for model, of_model in generated.items()
    }


def gait_markdown(windows: Mapping[str, Tensor]) -> list[str]:
    """One table per style: statistics as mean ± standard deviation over its windows, side by side by who made them.

    ``windows``: ``(n, frames, 63)`` in real units, by maker (``real``, ``base`` …); speeds are of an average body.
    """
    values = {name: statistics(states, HEIGHT) for name, states in windows.items()}
    members = {name: styles(states) for name, states in windows.items()}
    lines = ["## Gait by style", "", "Mean ± standard deviation over windows that the rules name so.", ""]
    for style in RULES:
        counts = ", ".join(f"{name} {int(members[name][style].sum())}" for name in windows)
        rows = [(key, *(_mean(values[name][key][members[name][style]]) for name in windows)) for key in NAMES]
        table = Table.of(("statistic", *map(Column, windows)), rows)
        lines += [f"### {style.replace('_', ' ')} ({counts})", "", *table.markdown(), ""]
    return lines


def _mean(values: Tensor) -> str:
    """``mean ± standard deviation`` of those of ``(n,)`` that are finite."""
    finite = values.double()[values.isfinite()]
    mean = f"{float(finite.mean()):.3g}" if len(finite) else "–"
    return f"{mean} ± {float(finite.std()):.2g}" if len(finite) > 1 else mean
