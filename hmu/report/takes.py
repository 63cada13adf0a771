"""The motions of ``report.html``: the first prompts of every set, not chosen by result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.evaluation.generation import Generated
from hmu.evaluation.sets import PromptSet
from hmu.motion.representation import Representation
from hmu.report.page import Clip, Stick, Take
from hmu.report.samples import plain_first

SHOWN = 50  #: prompts in a page, over all sets; with three models at full length about 3 MB


def first_takes(
    sets: Sequence[PromptSet],
    generated: Mapping[str, Mapping[str, Generated]],
    concept: Concept,
    fps: float,
    most: int = SHOWN,
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
        motions = {model: found[prompts.name].motions[0] for model, found in generated.items()}
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
    seen: list[bool | None] = [None] * len(motion) if judge is None else judge(motion, lengths).tolist()
    parts = zip(figure.positions.numpy(), figure.arrows.numpy(), lengths.tolist(), seen, strict=True)
    return [Clip(joints[:n], arrows[:n] if arrows.shape[1] else None, s) for joints, arrows, n, s in parts]
