"""From answers to the page of a run folder."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.generation import Generated
from hmu.evaluation.results import Results
from hmu.evaluation.sets import PromptSet
from hmu.gait.representation import GAIT
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import joints_to_features
from hmu.motion.representation import skeleton_representation
from hmu.motion.skeleton import KIT, T2M
from hmu.report.page import page
from hmu.report.samples import first_takes, shares
from tests.motion.walker import walker
from tests.report.page.web_sample import rows

KICK = Concept(name="kick", keywords=("kick",), detector="kick")


def prompt_set(name: str, texts: list[str], motion: torch.Tensor, real: bool) -> PromptSet:
    lengths = torch.full((len(texts),), motion.shape[1] - 4)
    captions = tuple(Caption(text) for text in texts)
    batch = MotionBatch(motion, lengths, captions, tuple(map(str, range(len(texts))))) if real else None
    named = {"walk": torch.tensor(["walk" in text for text in texts])}
    known = GAIT if motion.shape[-1] == GAIT.features else skeleton_representation(motion.shape[-1])
    return PromptSet(name, captions, lengths, batch, named, known)


def same(sets: list[PromptSet], motions: list[torch.Tensor]) -> dict[str, dict[str, Generated]]:
    answers = {s.name: Generated([m, m]) for s, m in zip(sets, motions, strict=True)}
    return {"base": answers, "unlearned": answers}


@pytest.mark.parametrize(
    ("sizes", "most", "given"),
    [([10, 10], 6, [3, 3]), ([1, 10, 0], 6, [1, 5, 0]), ([2, 2], 50, [2, 2]), ([5, 5, 5], 4, [2, 1, 1])],
)
def test_places_are_shared_out_evenly(sizes, most, given):
    assert shares(sizes, most) == given


def test_takes_hold_the_joints_of_prompts_beside_their_real_clips():
    features = torch.from_numpy(joints_to_features(walker(41), T2M)).float()[None]
    forget = prompt_set("forget", ["kicks then walks", "kicks", "kicks again"], features.repeat(3, 1, 1), real=True)
    hard = prompt_set("paraphrase", ["swings a leg"], features, real=False)
    takes, stick = first_takes(
        [forget, hard], same([forget, hard], [features.repeat(3, 1, 1), features]), KICK, fps=20.0, most=3
    )
    assert [take.prompt for take in takes] == ["kicks", "kicks again", "swings a leg"]  # those of kicking alone first
    assert [list(take.clips) for take in takes] == [["base", "unlearned", "real"]] * 2 + [["base", "unlearned"]]
    clip = takes[0].clips["base"]
    assert clip.joints.shape == (36, 22, 3)
    assert clip.seen is False
    assert stick is not None
    assert (stick.joints, stick.fps) == (22, 20.0)
    assert np.allclose(clip.joints, features_to_joints(features[0, :36], T2M), atol=1e-6)


def test_millimetres_become_metres():
    motion = torch.zeros(1, 8, KIT.features)
    motion[..., 3] = 900.0  # the root's height
    prompts = prompt_set("forget", ["kicks"], motion, real=False)
    takes, stick = first_takes([prompts], same([prompts], [motion]), KICK, fps=12.5)
    assert stick is not None
    assert stick.joints == 21
    assert takes[0].clips["base"].joints[0, 0, 1] == pytest.approx(0.9)
    assert takes[0].clips["base"].seen is None


def test_gait_windows_come_with_forces():
    windows = torch.zeros(3, 150, 63)
    prompts = prompt_set("forget", ["crouch", "crouch", "walk"], windows, real=True)
    crouch = Concept(name="crouch", keywords=("crouch",))
    takes, stick = first_takes([prompts], same([prompts], [windows]), crouch, fps=100.0, most=2)
    assert stick == GAIT.stick
    assert [take.prompt for take in takes] == ["window 1", "window 2"]
    clip = takes[0].clips["unlearned"]
    assert clip.points(stick.joints).shape == (146, len(clip.joints[0]) + 4, 3)
    assert isinstance(clip.seen, bool)


def test_unknown_features_are_shown_as_numbers_only():
    motion = torch.zeros(1, 8, 7)
    prompts = prompt_set("forget", ["kicks"], motion, real=False)
    shown = first_takes([prompts], same([prompts], [motion]), KICK, fps=20.0)
    assert shown == ([], None)
    assert "Is it gone?" in page(Results({"title": "t", "concept": "kick"}, rows()), *shown)


def test_the_page_says_what_the_results_say():
    features = torch.from_numpy(np.stack([joints_to_features(walker(41), T2M)])).float()
    prompts = prompt_set("forget", ["kicks"], features, real=True)
    results = Results({"title": "esd-kick", "concept": "kick", "evaluator_width": 512}, rows(), {"keep": 0.91})
    html = page(results, *first_takes([prompts], same([prompts], [features]), KICK, 20.0))
    assert "Asked for ‘kick’, the base model shows it in 90\u202f% of motions" in html
    assert "Warning: FID on ‘retain’ is from n = 20 motions" in html
    facts = json.loads(re.search(r'id="takes">(.*?)</script>', html, re.DOTALL)[1])
    assert [clip["frames"] for clip in facts["takes"][0]["clips"]] == [36, 36, 36]
