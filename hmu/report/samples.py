"""Pictures of a run folder's ``samples/``: before/after animations, and a bar plot of what the detectors see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.evaluation.generation import Generated
from hmu.evaluation.results import Results
from hmu.evaluation.sets import PromptSet
from hmu.viz.animate import render_gif
from hmu.viz.plots import rates_plot

ANIMATIONS = 3  # prompts in animations


def plain_first(prompts: PromptSet) -> Tensor:
    """Indices ``(prompts,)``: of the forget set those first that name no other action, since they show one thing."""
    if prompts.name != "forget" or not prompts.actions:
        return torch.arange(len(prompts))
    return torch.argsort(torch.stack([mask.long() for mask in prompts.actions.values()]).sum(0), stable=True)


def animation_name(number: int) -> str:
    """``before_after.gif``, ``before_after_2.gif`` …"""
    return "before_after.gif" if number == 1 else f"before_after_{number}.gif"


def write_samples(
    folder: Path,
    results: Results,
    sets: Sequence[PromptSet],
    generated: Mapping[str, Mapping[str, Generated]],
    concept: Concept,
    fps: float,
) -> None:
    """Animate the first forget prompts, models side by side, and plot the rates at which actions are detected."""
    forget = next((prompts for prompts in sets if prompts.name == "forget"), None)
    if forget is not None and forget.actions and forget.representation.smpl_joints:
        for number, i in enumerate(plain_first(forget)[:ANIMATIONS].tolist(), start=1):
            length = int(forget.lengths[i])
            motions = {name: found["forget"].motions[0][i, :length] for name, found in generated.items()}
            panels = [(name, forget.representation.joints(motion)) for name, motion in motions.items()]
            render_gif(panels, folder / animation_name(number), fps=fps, caption=forget.captions[i].text)
    rows = [row for row in results.rows if row.metric == "detector_rate" and row.label]
    if rows:
        rates_plot(rows, folder / "detector_rates.png", concept=concept.name)
