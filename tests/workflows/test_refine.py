"""The retrieval step with a backbone and an evaluator that know what they do."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from hmu.compose import configured
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.data.partition import Partition
from hmu.errors import ConfigError
from hmu.evaluation import generation
from hmu.motion.representation import HUMANML3D
from tests.evaluation.toy import Words
from tests.methods.fake import FakeBackbone

KICK = Concept("kick", ("kick",))
TEXTS = {"a": ("he kicks",), "Ma": ("he kicks",), "b": ("a kick",), "w": ("a walk",), "v": ("he walks",)}
LOOKS = {"a": 0, "Ma": 0, "b": 1, "w": 1, "v": 1}  # "b" is called a kick and looks like a walk


@dataclass
class Clips:
    clip_ids: tuple[str, ...]
    unit_length: int = 4
    max_frames: int = 196
    fingerprint: str = "x"
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.lengths = np.full(len(self.clip_ids), 43)
        self.ids, self.texts = self.clip_ids, [TEXTS[c][0] for c in self.clip_ids]

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def captions(self) -> tuple[tuple[Caption, ...], ...]:
        return tuple(tuple(map(Caption, TEXTS[name])) for name in self.clip_ids)

    def batch(self, rows) -> object:
        motion = torch.zeros(len(rows), 40, 2)
        for line, row in enumerate(rows):
            motion[line, :, LOOKS[self.clip_ids[int(row)]]] = 1
        return Batch(motion, torch.full((len(rows),), 40))


@dataclass
class Batch:
    motion: Tensor
    lengths: Tensor

    def to(self, device) -> Batch:
        return self


class Source:
    name, splits, representation = "toy", ("train",), HUMANML3D

    def clips(self, split: str, ids=None) -> Clips:
        return Clips(tuple(TEXTS) if ids is None else tuple(ids))


class Mean(Words):
    name, width, fingerprint = "tmr", 2, "mean"

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        return motion.mean(1)


def sides() -> Partition:
    return Partition("kick", "toy", "train", ("a", "Ma", "b"), ("w", "v"))


@pytest.mark.parametrize("exclude", [True, False])
def test_real_motions_that_do_not_look_like_it_are_kept(exclude: bool) -> None:
    step = configured("refine", "retrieval", top=1, least=1, motions="real", exclude_self=exclude)
    if exclude:  # its nearest neighbours are walks, and it does not answer for itself
        step.top = 2
    refined = step(sides(), Source(), KICK, None, Mean())
    assert "b" in (refined.forget if not exclude else refined.retain)
    assert set(refined.forget) | set(refined.retain) == set(TEXTS)


def test_generated_motions_are_counted_per_caption_and_repeat(monkeypatch) -> None:
    asked = []

    def generate(plan, backbone, prompts, condition, repeat, done) -> Tensor:
        asked.append((plan.seed + repeat, [c.text for c in prompts.captions], prompts.lengths.tolist()))
        motion = torch.zeros(len(prompts), 40, 2)
        motion[:2, :, 0], motion[2:, :, 1] = 1, 1
        return motion

    monkeypatch.setattr(generation.Plan, "generate", generate)
    monkeypatch.setattr(generation, "encode", lambda *_: None)
    step = configured("refine", "retrieval", top=1, least=3, repeats=3, exclude_self=False, seed=5)
    refined = step(sides(), Source(), KICK, FakeBackbone(), Mean())
    assert [seed for seed, *_ in asked] == [5, 6, 7]
    assert asked[0][2] == [40, 40, 40]
    assert refined.forget == ("a", "Ma", "b")  # the nearest to "b" is itself, called a kick
    with pytest.raises(ConfigError, match=r"refine\.least=8, but no clip has more than 3"):
        configured("refine", "retrieval", repeats=3)(sides(), Source(), KICK, None, Mean())
    with pytest.raises(ConfigError, match="motions"):
        configured("refine", "retrieval", motions="both")
