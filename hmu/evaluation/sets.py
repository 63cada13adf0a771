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


@dataclass(frozen=True)
class Prompting:
    """How the prompt sets of an evaluation are made.

    Attributes:
        concept: what is unlearned.
        actions: concepts that have a kinematic detector, by name: what a caption asks for, and what is counted.
        representation: of the data set.
        unit: generated lengths are cut to a multiple of this many frames.
        seed: of the clips that a limit leaves, and of the lengths of prompts without a clip.
    """

    concept: Concept
    actions: Mapping[str, Concept]
    representation: Representation
    unit: int
    seed: int

    def sets(self, forget: MotionClips, retain: MotionClips, limits: Mapping[str, int]) -> list[PromptSet]:
        """Forget, retain, neighbours (retained clips of similar actions), and prompts about the concept of every kind.

        Prompts are the concept's own lists, or follow rules (:func:`hmu.evaluation.prompts.prompts_for`).

        ``limits``: largest number of prompts per set (0 leaves the set out), the same for all models: clips are drawn,
        of a list of prompts the first are taken. DataError for one of a set that does not exist.
        """
        unknown = set(limits) - {*REAL_SETS, *PROMPTS}
        if unknown:
            raise DataError(f"suite.limits: unknown set {sorted(unknown)}; known: {', '.join((*REAL_SETS, *PROMPTS))}")
        asking, others = self.of_clips("forget", forget), self.of_clips("retain", retain)
        sets = [asking, others, self.neighbours(others)]
        for name in PROMPTS:
            if limits.get(name, 0) > 0:
                sets.append(self.of_texts(name, prompts_for(self.concept, name, self.actions), asking.lengths))
        return [self.limited(s, limits[s.name]) for s in sets if limits.get(s.name, 0) > 0 and len(s)]

    def of_clips(self, name: str, clips: MotionClips) -> PromptSet:
        """A forget clip is asked for by a caption that names the concept, if it has one."""

        def caption_of(captions: Sequence[Caption]) -> Caption:
            naming = (caption for caption in captions if self.concept.find(caption.text))
            return next(naming, captions[0]) if name == "forget" else captions[0]

        captions = tuple(map(caption_of, clips.captions))
        real = clips.batch(torch.arange(len(clips)))
        lengths = real.lengths // self.unit * self.unit
        real = replace(real, captions=captions, lengths=lengths, motion=real.motion[:, : int(lengths.max())])
        return PromptSet(name, captions, lengths, real, self.asked_for(captions), self.representation)

    def neighbours(self, retain: PromptSet) -> PromptSet:
        """Retained prompts that name an action of the concept's ``neighbours``, or the word where it is no action."""
        mask = torch.zeros(len(retain), dtype=torch.bool)
        for name in self.concept.neighbours:
            if name in retain.actions:
                mask |= retain.actions[name]
            elif name not in self.actions:
                mask |= naming(Concept(name="neighbour", keywords=(name,)), retain.captions)
        near = retain.select(mask.nonzero().flatten())
        similar = {k: v for k, v in near.actions.items() if k in self.concept.neighbours}
        return replace(near, name="neighbours", actions=similar)

    def of_texts(self, name: str, texts: Sequence[str], lengths: Tensor) -> PromptSet:
        """Prompts without clips; each takes one of ``lengths`` ``(any,)``."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = lengths[torch.randint(len(lengths), (len(texts),), generator=generator)]
        captions = tuple(map(Caption, texts))
        asked = self.asked_for(captions) if name in BOTH_SIDES else {}
        if self.concept.detector is not None:
            asked[self.concept.name] = torch.ones(len(texts), dtype=torch.bool)
        return PromptSet(name, captions, drawn, None, asked, self.representation)

    def asked_for(self, captions: Sequence[Caption]) -> dict[str, Tensor]:
        """Which captions name which action, ``{action: (captions,) bool}``; actions nobody names are left out."""
        masks = {name: naming(action, captions) for name, action in self.actions.items()}
        return {name: mask for name, mask in masks.items() if bool(mask.any())}

    def limited(self, prompts: PromptSet, most: int) -> PromptSet:
        """At most so many prompts: the first of a list, clips at random in their order."""
        if len(prompts) <= most:
            return prompts
        if prompts.real is None:
            return prompts.select(torch.arange(most))
        index = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(self.seed))[:most]
        return prompts.select(index.sort().values)


def naming(action: Concept, captions: Sequence[Caption]) -> Tensor:
    """Which captions name an action, bool ``(captions,)``."""
    return torch.tensor([bool(action.find(caption.text)) for caption in captions], dtype=torch.bool)
