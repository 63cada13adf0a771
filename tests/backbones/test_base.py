"""What the contract itself does."""

from __future__ import annotations

import pytest

from hmu.backbones.salad import Salad
from hmu.compose import asset
from hmu.errors import ConfigError
from tests.methods.fake import FakeBackbone


def test_more_steps_than_noise_levels_are_refused_by_the_key_that_asks_for_them():
    salad = Salad.load_pretrained(asset("demo/salad"))
    for steps in (None, 1, 1000):
        salad.check_steps(steps, "suite.steps")
    with pytest.raises(ConfigError, match=r"^suite\.steps=1001: salad has 1000 noise levels"):
        salad.check_steps(1001, "suite.steps")
    object.__setattr__(salad.sampling, "steps", 2000)
    with pytest.raises(ConfigError, match=r"^backbone\.sampling\.steps=2000"):
        salad.check_steps(None, "suite.steps")


def test_a_model_without_noise_levels_takes_any_number():
    FakeBackbone().check_steps(10**6, "steps")
