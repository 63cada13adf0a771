from __future__ import annotations

import pytest

from hmu.errors import ConfigError
from tests.training.make import recipe


def test_warm_up_reaches_the_full_rate():
    # the authors' loop stays at lr * warmup / (warmup + 1) for ever; ours must not
    numbers = recipe(steps=100, warmup=10, milestones=(50,), gamma=0.1)
    assert numbers.factor(9, 100) == 1.0
    assert numbers.factor(0, 100) == pytest.approx(0.1)
    assert numbers.factor(60, 100) == pytest.approx(0.1)


def test_cosine_ends_at_zero():
    numbers = recipe(steps=100, cosine=True)
    assert numbers.factor(100, 100) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "wrong", [{}, {"steps": 1, "epochs": 1}, {"steps": 0}, {"steps": 5, "ema": 1.5}, {"steps": 5, "lr": 0}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match="recipe"):
        recipe(**wrong)


def test_epochs_become_steps():
    assert recipe(epochs=3, batch_size=10).total_steps(35) == 9
