"""``report.html`` of a run folder: the numbers, and the first prompts of every set to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hmu.data.concepts import Concept
from hmu.errors import DataError
from hmu.evaluation.gait import rule_of
from hmu.evaluation.results import Results
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Answers
from hmu.gait.columns import FEATURES, FPS
from hmu.gait.figure import EDGES, NAMES, gait_stick_figure
from hmu.gait.figure import SIDES as GAIT_SIDES
from hmu.gait.rules import RULES
from hmu.motion import detectors
from hmu.motion.features import features_to_joints
from hmu.motion.skeleton import skeleton_for
from hmu.report.page import Clip, Evaluated, Stick, Take, page
from hmu.report.samples import plain_first
from hmu.report.text import LEGEND, SIDES, headline, warnings
from hmu.run import write_text

GAIT = Stick(len(NAMES), EDGES, FPS, (0.07,) * len(EDGES), GAIT_SIDES, NAMES.index("head"))
SHOWN = 50  #: prompts in a page, over all sets; with three models at full length about 3 MB


def write_page(
    path: Path, results: Results, takes: Sequence[Take], stick: Stick | None, instead: Mapping[str, Any] | None = None
) -> None:
    """Write the page of an evaluation, atomically. Without ``takes`` it holds the numbers only.

    Any figure may be shown: for motions without the 22 or 21 joints of the field pass a :class:`Stick` and clips of
    your own, with arrows if there are forces.
    """
    context = results.context
    found = Evaluated(
        title=str(context.get("title", "Evaluation")),
        headline=headline(results),
        rows=results.rows,
        concept=str(context.get("concept", "the concept")),
        context=context,
        titles=SIDES,
        scoreboard=results.scoreboard,
        notes=[*(f"{warning}." for warning in warnings(results)), *LEGEND],
        takes=takes,
        stick=stick,
        instead=instead or {},
    )
    write_text(path, page(found))


def first_takes(
    sets: Sequence[PromptSet],
    answers: Mapping[str, Mapping[str, Answers]],
    concept: Concept,
    fps: float,
    most: int = SHOWN,
) -> tuple[list[Take], Stick | None]:
    """The first repeat of the first prompts of each set, not chosen by result, beside the real clip where there is one.

    Returns:
        at most ``most`` takes, as many per set as its size allows, and their figure; nothing without joints.
    """
    width = next(iter(answers.values()))[sets[0].name].motions[0].shape[-1]
    if width == FEATURES:
        return _windows(sets[0], answers, concept, most), GAIT
    stick = _stick(width, fps)
    if stick is None:
        return [], None
    takes = []
    for prompts, count in zip(sets, shares([len(s) for s in sets], most), strict=True):
        index = plain_first(prompts)[:count]
        motions = {model: found[prompts.name].motions[0] for model, found in answers.items()}
        if prompts.real is not None:
            motions["real"] = prompts.real.motion
        clips = {model: _clips(motion[index], prompts.lengths[index], concept) for model, motion in motions.items()}
        takes += [
            Take(prompts.captions[i].text, prompts.name, {model: of_model[row] for model, of_model in clips.items()})
            for row, i in enumerate(index.tolist())
        ]
    return takes, stick


def _windows(
    prompts: PromptSet, answers: Mapping[str, Mapping[str, Answers]], concept: Concept, most: int
) -> list[Take]:
    """Gait answers no caption: what the models make of equal noise, the same for every set; no real counterpart."""
    made = {model: _gait(found[prompts.name].motions[0][:most], concept) for model, found in answers.items()}
    return [
        Take(f"window {number}", prompts.name, dict(zip(made, clips, strict=True)))
        for number, clips in enumerate(zip(*made.values(), strict=True), start=1)
    ]


def _stick(width: int, fps: float) -> Stick | None:
    try:
        return Stick.of(skeleton_for(width), fps)
    except DataError:
        return None


def shares(sizes: Sequence[int], most: int) -> list[int]:
    """``most`` places shared out evenly; what a small set does not need goes to the others."""
    given = [0] * len(sizes)
    for _ in range(most):
        open_ = [i for i, size in enumerate(sizes) if given[i] < size]
        if not open_:
            break
        given[min(open_, key=lambda i: given[i])] += 1
    return given


def _clips(motion: Tensor, lengths: Tensor, concept: Concept) -> list[Clip]:
    """Clips of motions ``(prompts, frames, features)`` with what the concept's detector says of each."""
    skeleton = skeleton_for(motion.shape[-1])
    joints = features_to_joints(motion, skeleton)
    seen: list[bool | None] = [None] * len(joints)
    if concept.detector is not None and motion.shape[-1] == 263:  # the rules know the 22-joint skeleton only
        seen = np.asarray(detectors.detect(str(concept.detector), joints, lengths.numpy())).tolist()
    metres = joints.double().numpy() * skeleton.units_to_metres
    return [Clip(one[:length], seen=s) for one, length, s in zip(metres, lengths.tolist(), seen, strict=True)]


def _gait(windows: Tensor, concept: Concept) -> list[Clip]:
    """Clips of gait windows ``(windows, frames, 63)`` with the ground reaction forces as arrows."""
    figure, rule = gait_stick_figure(windows), rule_of(concept)
    seen: list[bool | None] = [None] * len(windows) if rule is None else RULES[rule](windows).bool().tolist()
    return [Clip(*parts) for parts in zip(figure.positions.numpy(), figure.arrows.numpy(), seen, strict=True)]
