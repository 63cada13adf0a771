"""What is shown of motions: animations and a plot of rates in ``samples/``, and what the page's viewer plays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.evaluation.results import Results, Row
from hmu.evaluation.sets import FORGET_SIDE, PromptSet
from hmu.evaluation.suite import ByModel
from hmu.metrics.detector_rate import RATE
from hmu.motion.representation import Representation
from hmu.motion.stick import Stick
from hmu.report.page.motions import Clip, Take
from hmu.viz.animate import render_gif
from hmu.viz.plots import Rate, detector_bars

ANIMATIONS = 3
SHOWN = 50  #: prompts in a page, over all sets; with three models at full length about 3 MB


def plain_first(prompts: PromptSet) -> Tensor:
    """Indices ``(prompts,)``: of the forget set those first that name no other action, since they show one thing."""
    if prompts.name != "forget" or not prompts.actions:
        return torch.arange(len(prompts))
    return torch.argsort(torch.stack([mask.long() for mask in prompts.actions.values()]).sum(0), stable=True)


def write_samples(
    folder: Path, results: Results, sets: Sequence[PromptSet], generated: ByModel, concept: Concept, fps: float
) -> None:
    """Animate the first forget prompts, models side by side, and plot the rates at which actions are detected."""
    forget = next((prompts for prompts in sets if prompts.name == "forget"), None)
    if forget is not None and forget.representation.captioned:
        motions = {model: of_model["forget"].motions[0] for model, of_model in generated.items()}
        shown = [
            (forget.captions[i].text, {model: motion[i, : forget.lengths[i]] for model, motion in motions.items()})
            for i in plain_first(forget)[:ANIMATIONS].tolist()
        ]
        write_animations(folder, shown, forget.representation, fps)
    rates = rates_of(results.rows, concept.name)
    if rates:
        detector_bars(rates, folder / "detector_rates.png", concept=concept.name)


def write_animations(
    folder: Path,
    shown: Sequence[tuple[str, Mapping[str, Tensor]]],
    representation: Representation,
    fps: float,
    **view: float,
) -> None:
    """Write ``before_after.gif``, ``before_after_2.gif`` … of the first of ``shown``; nothing where nobody can draw it.

    Args:
        shown: caption and motions ``(frames, features)`` in real units by model.
        view: of :func:`hmu.viz.animate.render_frames`.
    """
    if representation.stick is None:
        return
    stick = replace(representation.stick, fps=fps)
    for number, (caption, motions) in enumerate(islice(shown, ANIMATIONS), start=1):
        panels = [(name, representation.figure(motion)) for name, motion in motions.items()]
        name = "before_after.gif" if number == 1 else f"before_after_{number}.gif"
        render_gif(panels, folder / name, stick, caption=caption, **view)


def rates_of(rows: Sequence[Row], concept: str) -> dict[str, dict[str, Rate]]:
    """Detection rates by action and model.

    The concept is shown per prompt set that asks for it (``kick``, ``kick (paraphrase)`` ...), other actions on the
    sets that should be kept; rates that nobody asked for (another action on a forget prompt) are left out, and so is a
    rate without a value.
    """
    rates: dict[str, dict[str, Rate]] = {}
    for row in rows:
        asked = row.set in FORGET_SIDE
        if row.metric != RATE or row.label is None or (row.label == concept) != asked or not math.isfinite(row.value):
            continue
        name = f"{row.label} ({row.set})" if asked and row.set != "forget" else row.label
        rates.setdefault(name, {}).setdefault(row.model, Rate(row.value, row.low, row.high))
    return rates


def first_takes(
    sets: Sequence[PromptSet], generated: ByModel, concept: Concept, fps: float, most: int = SHOWN
) -> tuple[list[Take], Stick | None]:
    """The first repeat of the first prompts of each set, not chosen by result, beside the real clip where there is one.

    Without captions every set is the same question, and what the models make of equal noise has no real counterpart.

    Returns:
        at most ``most`` takes, as many per set as its size allows, and their figure; nothing without joints.
    """
    representation = sets[0].representation
    if representation.stick is None:
        return [], None
    captioned, takes = representation.captioned, []
    asked = sets if captioned else sets[:1]
    for prompts, count in zip(asked, shares([len(s) for s in asked], most), strict=True):
        index = (plain_first(prompts) if captioned else torch.arange(len(prompts)))[:count]
        motions = {model: of_model[prompts.name].motions[0] for model, of_model in generated.items()}
        if prompts.real is not None and captioned:
            motions["real"] = prompts.real.motion
        lengths = prompts.lengths[index]
        clips = {model: _clips(motion[index], lengths, concept, representation) for model, motion in motions.items()}
        for row, i in enumerate(index.tolist()):
            prompt = prompts.captions[i].text if captioned else f"window {row + 1}"
            takes.append(Take(prompt, prompts.name, {model: of_model[row] for model, of_model in clips.items()}))
    return takes, replace(representation.stick, fps=fps)


def shares(sizes: Sequence[int], most: int) -> list[int]:
    """``most`` places shared out evenly; what a small set does not need goes to the others."""
    given = [0] * len(sizes)
    for _ in range(most):
        open_ = [i for i, size in enumerate(sizes) if given[i] < size]
        if not open_:
            break
        given[min(open_, key=lambda i: given[i])] += 1
    return given


def _clips(motion: Tensor, lengths: Tensor, concept: Concept, representation: Representation) -> list[Clip]:
    """Clips of motions ``(prompts, frames, features)`` in real units with what the concept's judge says of each."""
    figure, judge = representation.figure(motion), representation.judge(concept)
    shows: list[bool | None] = [None] * len(motion) if judge is None else judge(motion, lengths).tolist()
    parts = zip(figure.positions.numpy(), figure.arrows.numpy(), lengths.tolist(), shows, strict=True)
    return [Clip(joints[:n], arrows[:n] if arrows.shape[1] else None, s) for joints, arrows, n, s in parts]
