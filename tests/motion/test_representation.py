"""What columns are: the packaged representations agree with what they rest on, and one from outside needs no entry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import DataError
from hmu.evaluation.generation import Generated
from hmu.evaluation.sets import PromptSet
from hmu.gait.representation import GAIT
from hmu.gait.rules import RULES
from hmu.motion import detectors
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import joints_to_features
from hmu.motion.representation import HUMANML3D, KIT_ML, Representation, skeleton_representation
from hmu.motion.skeleton import KIT, T2M
from hmu.motion.stick import Figure, Stick
from hmu.report.samples import first_takes
from tests.data.conftest import write_layout
from tests.datasets import dataset
from tests.motion.walker import walker

KICK = Concept(name="kick", keywords=("kick",), detector="kick")


@pytest.mark.parametrize(("known", "skeleton"), [(HUMANML3D, T2M), (KIT_ML, KIT)])
def test_joints_are_metres(known, skeleton):
    features = torch.from_numpy(joints_to_features(walker(30, 3, skeleton), skeleton)).float()[None]
    expected = features_to_joints(features, skeleton) * skeleton.units_to_metres
    torch.testing.assert_close(known.joints(features), expected)
    assert known.stick.joints == expected.shape[-2]
    assert (known.features, known.fps, known.unit_length) == (skeleton.features, skeleton.fps, 4)
    assert known.figure(features).arrows.shape == (1, len(expected[0]), 0, 2, 3)


def test_the_judge_is_the_concepts_detector_where_rules_know_the_skeleton():
    features = torch.from_numpy(joints_to_features(walker(60), T2M)).float()[None]
    walk = Concept(name="walk", keywords=("walk",), detector="walk")
    judge = HUMANML3D.judge(walk)
    assert judge is not None
    expected = detectors.detect("walk", features_to_joints(features, T2M), [len(features[0])])
    assert judge(features, torch.tensor([len(features[0])])).tolist() == expected.tolist()
    assert set(HUMANML3D.rules) == set(detectors.names())
    assert KIT_ML.judge(walk) is None
    assert HUMANML3D.judge(Concept(name="dance", keywords=("dance",))) is None


def test_gait_is_judged_by_the_rule_that_keywords_name():
    windows = torch.zeros(2, 150, GAIT.features)
    judge = GAIT.judge(Concept("crouch_gait", ["crouch"]))
    assert judge is not None
    assert judge(windows, torch.tensor([150, 150])).tolist() == RULES["crouch"](windows).tolist()
    assert GAIT.judge(Concept("limp", ["limp"])) is None
    assert GAIT.figure(windows).positions.shape[-2] == GAIT.stick.joints
    assert not GAIT.captioned


def test_other_widths_are_numbers_that_nobody_draws_or_judges():
    plain = skeleton_representation(7, 30.0)
    assert (plain.features, plain.fps, plain.stick, plain.rules) == (7, 30.0, None, ())
    assert plain.judge(KICK) is None
    with pytest.raises(DataError, match="7 columns have no joints"):
        plain.joints(torch.zeros(1, 4, 7))


class Points(Representation):
    """Five columns as a package from outside may have them: the height of two points, and three that say nothing."""

    stick = Stick(2, ((0, 1),), 10.0)
    rules = ("high",)

    def figure(self, motion: Tensor) -> Figure:
        positions = torch.zeros(*motion.shape[:-1], 2, 3)
        positions[..., 1] = motion[..., :2]
        return Figure(positions, positions.new_zeros(*motion.shape[:-1], 0, 2, 3))

    def rule(self, concept: Concept) -> str | None:
        return "high" if concept.name == "high" else None

    def detect(self, rules: Iterable[str], motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {rule: motion[..., 0].amax(1) > 1 for rule in rules}


POINTS = Points("points", 5, 10.0)


def test_one_from_outside_is_owned_by_its_data_and_its_backbone_and_is_drawn(tmp_path: Path):
    source = dataset("points", write_layout(tmp_path / "x"), features=5, cache_dir=tmp_path, representation=POINTS)
    assert source.representation is POINTS

    class Outside(MotionBackbone):
        representation = POINTS

    assert Outside.representation is POINTS
    motion = torch.zeros(2, 8, 5)
    motion[1, :, 0] = 2.0
    captions, lengths = (Caption("low"), Caption("high")), torch.tensor([8, 4])
    prompts = PromptSet("forget", captions, lengths, MotionBatch(motion, lengths, captions, ("a", "b")), {}, POINTS)
    generated = {"base": {"forget": Generated([motion])}}
    takes, stick = first_takes([prompts], generated, Concept(name="high", keywords=("high",)), fps=10.0)
    assert stick == POINTS.stick
    assert [take.clips["base"].seen for take in takes] == [False, True]
    assert takes[1].clips["real"].joints.shape == (4, 2, 3)
    assert np.all(takes[1].clips["base"].joints[:, 0, 1] == 2.0)
