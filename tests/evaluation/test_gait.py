"""The suite of gait: which rows it has, what they count, and its tables."""

from __future__ import annotations

import pytest
import torch

from hmu.checkpoints.store import Store
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.generation import Model
from hmu.evaluation.results import Results, summarise
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Suite
from hmu.evaluators.gait import GaitFeatures
from hmu.gait.representation import GAIT
from hmu.gait.standard import standard
from hmu.metrics.fid import FID
from hmu.metrics.gait_consistency import GaitConsistency
from hmu.metrics.gait_statistics import GaitStatistics
from hmu.report.text import headline
from tests.evaluation.toy import PLAIN
from tests.gait.conftest import demo_trial
from tests.metrics.made import made

CROUCH = Concept("crouch_gait", ["crouch"])


def windows(style: str) -> torch.Tensor:
    """Four windows of two people."""
    trials = [standard(demo_trial(style, 0.4, 3.0, seed))[0] for seed in (0, 1)]
    return torch.stack([torch.from_numpy(t.states[a : a + 150]).float() for t in trials for a in (60, 100)])


def prompts(name: str, motion: torch.Tensor, label: str) -> PromptSet:
    captions = tuple(Caption(label, (f"{label}/NOUN",), 0.0, 0.0) for _ in motion)
    lengths = torch.full((len(motion),), motion.shape[1])
    real = MotionBatch(motion, lengths, captions, tuple(f"{name}{i}" for i in range(len(motion))))
    return PromptSet(name, captions, lengths, real, {}, GAIT)


def sets_of() -> list[PromptSet]:
    return [prompts("forget", windows("crouch"), "crouch"), prompts("retain", windows("walk"), "walk")]


class Replay(torch.nn.Module):
    """A model that plays windows back; counts how often it is asked."""

    name, features, fps, sampling, reads_text = "replay", 63, 100.0, None, False

    def __init__(self, motion: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.motion, self.asked = motion, 0

    def encode_text(self, texts):
        from hmu.text.base import TextCondition

        assert set(texts) == {""}, "a model of gait is asked without captions"
        return TextCondition(torch.zeros(len(texts), 1, 1), torch.ones(len(texts), 1, dtype=torch.bool))

    def sample(self, condition, lengths, **options):
        self.asked += 1
        return self.motion[: len(lengths)]

    def provenance(self):
        return {}


def suite(**options) -> Suite:
    metrics = {
        "fid": FID(),
        "kd": made("kernel_distance"),
        "statistics": GaitStatistics(1.7),
        "consistency": GaitConsistency(1.7),
    }
    return Suite(metrics, {"forget": 4, "retain": 4}, **{**PLAIN, "repeats": 1, **options})


def measured(tmp_path, motion: torch.Tensor):
    model = Replay(motion)
    asked = [Model("base", model, "base")]
    rows, _ = suite().run(asked, sets_of(), GaitFeatures(1.7), CROUCH, 0, Store(tmp_path))
    return {row.key: row for row in rows}, model


def test_the_rule_of_a_concept_is_the_one_its_keywords_name():
    assert GAIT.rule(CROUCH) == "crouch"
    assert GAIT.rule(Concept("stiff_knee_gait", ["stiff knee"])) == "stiff_knee"
    assert GAIT.rule(Concept("limp", ["limp"])) is None


def test_a_model_that_only_crouches(tmp_path):
    rows, model = measured(tmp_path, windows("crouch"))
    assert model.asked == 1, "sets of one size are one question"
    assert rows["forget", "detector_rate", "crouch_gait"].value == 1
    assert rows["forget", "detector_rate", "crouch_gait"].direction == "lower"
    assert rows["forget", "fid", None].value == pytest.approx(0, abs=1e-6)
    assert rows["forget", "statistics_gap", None].value == pytest.approx(0, abs=1e-6)
    assert rows["retain", "fid", None].value > 1
    assert rows["retain", "detector_rate", "walk"].value == 0
    assert ("retain", "knee_least", "walk") not in rows or rows["retain", "knee_least", "walk"].value != 0


def test_a_model_that_only_walks(tmp_path):
    rows, _ = measured(tmp_path, windows("walk"))
    assert rows["forget", "detector_rate", "crouch_gait"].value == 0
    assert rows["retain", "detector_rate", "walk"].value == 1
    assert rows["retain", "statistics_gap", "walk"].value == pytest.approx(0, abs=1e-6)
    assert rows["retain", "load", "walk"].value == pytest.approx(1, abs=0.1)
    assert ("retain", "speed", None) not in rows
    assert ("retain", "speed", "crouch") not in rows
    assert rows["retain", "force_motion_error", None].direction == "lower"


def test_real_windows_tell_what_the_rules_can_see():
    found = suite().real_rates(sets_of(), CROUCH)
    assert found == {"forget": {"crouch_gait": 1.0}, "retain": {"walk": 1.0, "stiff_knee": 0.0, "run": 0.0}}


def test_the_headline_does_not_say_that_a_model_without_text_was_asked():
    rows = [
        summarise(model, "forget", "detector_rate", [value], 96, label="crouch_gait", share=True)
        for model, value in (("base", 0.25), ("unlearned", 0.0))
    ]
    found = Results({"concept": "crouch_gait", "reads_text": False}, rows)
    told = "Left to itself, the base model shows 'crouch_gait' in 25% of windows, the unlearned model in 0%."
    assert headline(found) == told
    taught = Results({**found.context, "edited": "specialised"}, rows)
    assert headline(taught) == told.replace("unlearned", "specialised")
    assert "left to itself, it shows 'crouch_gait' in 25%" in headline(Results(found.context, rows[:1]))
