"""The prompts a model is asked: forget, retain, neighbours, and hard prompts that never name the concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.clips import MotionClips
from hmu.data.concepts import PROMPTS, Concept
from hmu.errors import DataError
from hmu.evaluation.prompts import prompts_for
from hmu.motion.representation import Representation

REAL_SETS = ("forget", "retain", "neighbours")
FORGET_SIDE = ("forget", *PROMPTS)  #: sets that ask for the concept
BOTH_SIDES = ("compositional",)  #: sets that ask for the concept and for something that should be kept


@dataclass(frozen=True)
class PromptSet:
    """Prompts of one side with their lengths, and the real motions they describe where there are any.

    Attributes:
        name: ``forget``, ``retain`` …
        captions: one per prompt; lengths: frames to generate ``(prompts,)``.
        real: real motions of the same prompts, in the same order, or None for hand-written prompts.
        actions: per action with a detector, which prompts name it ``(prompts,)`` bool.
        representation: what motions that answer the prompts are.
    """

    name: str
    captions: tuple[Caption, ...]
    lengths: Tensor
    real: MotionBatch | None
    actions: Mapping[str, Tensor]
    representation: Representation

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def asks(self) -> bool:
        """Whether it asks for the concept."""
        return self.name in FORGET_SIDE

    @property
    def texts(self) -> list[str]:
        """What models are asked; where motions come without captions, nothing: sets of one size are one question."""
        return [caption.text if self.representation.captioned else "" for caption in self.captions]

    def select(self, index: Tensor) -> PromptSet:
        """Prompts ``index`` ``(k,)`` in that order."""
        real = None
        if self.real is not None:
            picked = self.real.motion[index], self.real.lengths[index]
            real = MotionBatch(*picked, tuple(self.captions[i] for i in index), tuple(self.real.ids[i] for i in index))
        captions = tuple(self.captions[i] for i in index.tolist())
        actions = {name: mask[index] for name, mask in self.actions.items()}
        return replace(self, captions=captions, lengths=self.lengths[index], real=real, actions=actions)


def build_sets(
    forget: MotionClips,
    retain: MotionClips,
    concept: Concept,
    actions: Mapping[str, Concept],
    representation: Representation,
    *,
    limits: Mapping[str, int],
    unit: int,
    seed: int,
) -> list[PromptSet]:
    """Forget, retain, neighbours (retained clips of similar actions), and prompts about the concept of every kind.

    Prompts are the concept's own lists, or follow rules (:func:`hmu.evaluation.prompts.prompts_for`).

    Args:
        forget, retain: the two sides of the split; representation: of the data set.
        actions: concepts that have a kinematic detector, by name: what a caption asks for, and what is counted.
        limits: largest number of prompts per set (0 leaves the set out), the same for all models: clips are drawn with
            ``seed``, of a list of prompts the first are taken.
        unit: generated lengths are cut to a multiple of this many frames.

    Raises:
        DataError: when a limit names a set that does not exist.
    """
    unknown = set(limits) - {*REAL_SETS, *PROMPTS}
    if unknown:
        raise DataError(f"suite.limits: unknown set {sorted(unknown)}; known: {', '.join((*REAL_SETS, *PROMPTS))}")
    sets = [
        _from_clips("forget", forget, concept, actions, representation, unit),
        _from_clips("retain", retain, concept, actions, representation, unit),
    ]
    near = _neighbours(sets[1], concept, actions)
    if near is not None:
        sets.append(near)
    for name in PROMPTS:
        prompts = prompts_for(concept, name, actions) if limits.get(name, 0) > 0 else ()
        if prompts:
            sets.append(_from_prompts(name, prompts, sets[0], concept, actions, seed))
    return [_limit(s, limits[s.name], seed) for s in sets if limits.get(s.name, 0) > 0 and len(s)]


def _from_clips(
    name: str,
    clips: MotionClips,
    concept: Concept,
    actions: Mapping[str, Concept],
    representation: Representation,
    unit: int,
) -> PromptSet:
    """A forget clip is asked for by a caption that names the concept, if it has one."""

    def caption_of(captions: Sequence[Caption]) -> Caption:
        naming = (caption for caption in captions if concept.find(caption.text))
        return next(naming, captions[0]) if name == "forget" else captions[0]

    captions = tuple(map(caption_of, clips.captions))
    real = clips.batch(torch.arange(len(clips)))
    lengths = real.lengths // unit * unit
    real = replace(real, captions=captions, lengths=lengths, motion=real.motion[:, : int(lengths.max())])
    return PromptSet(name, captions, lengths, real, action_masks(captions, actions), representation)


def action_masks(captions: Sequence[Caption], actions: Mapping[str, Concept]) -> dict[str, Tensor]:
    """Which captions name which action, ``{action: (captions,) bool}``; actions nobody names are left out."""
    masks = {
        name: torch.tensor([bool(action.find(c.text)) for c in captions], dtype=torch.bool)
        for name, action in actions.items()
    }
    return {name: mask for name, mask in masks.items() if bool(mask.any())}


def _neighbours(retain: PromptSet, concept: Concept, actions: Mapping[str, Concept]) -> PromptSet | None:
    mask = torch.zeros(len(retain), dtype=torch.bool)
    for name in concept.neighbours:
        if name in retain.actions:
            mask |= retain.actions[name]
        elif name not in actions:
            word = Concept(name="neighbour", keywords=(name,))
            mask |= torch.tensor([bool(word.find(c.text)) for c in retain.captions], dtype=torch.bool)
    if not bool(mask.any()):
        return None
    near = retain.select(mask.nonzero().flatten())
    kept = {k: v for k, v in near.actions.items() if k in concept.neighbours}
    return replace(near, name="neighbours", actions=kept)


def _from_prompts(
    name: str,
    prompts: Sequence[str],
    forget: PromptSet,
    concept: Concept,
    actions: Mapping[str, Concept],
    seed: int,
) -> PromptSet:
    generator, lengths = torch.Generator().manual_seed(seed), forget.lengths
    drawn = lengths[torch.randint(len(lengths), (len(prompts),), generator=generator)]
    captions = tuple(Caption(text) for text in prompts)
    asked = action_masks(captions, actions) if name in BOTH_SIDES else {}
    if concept.detector is not None:
        asked[concept.name] = torch.ones(len(prompts), dtype=torch.bool)
    return PromptSet(name, captions, drawn, None, asked, forget.representation)


def _limit(prompts: PromptSet, most: int, seed: int) -> PromptSet:
    if len(prompts) <= most:
        return prompts
    if prompts.real is None:
        return prompts.select(torch.arange(most))
    index = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed))[:most]
    return prompts.select(index.sort().values)
