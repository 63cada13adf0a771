from __future__ import annotations

import pytest

from hmu.errors import ConfigError
from hmu.training.recipe import Recipe


def test_warm_up_reaches_the_full_rate():
    # the authors' loop stays at lr * warmup / (warmup + 1) for ever; ours must not
    recipe = Recipe(steps=100, warmup=10, milestones=(50,), gamma=0.1)
    assert recipe.factor(9, 100) == 1.0
    assert recipe.factor(0, 100) == pytest.approx(0.1)
    assert recipe.factor(60, 100) == pytest.approx(0.1)


def test_cosine_ends_at_zero():
    recipe = Recipe(steps=100, cosine=True)
    assert recipe.factor(100, 100) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "wrong", [{}, {"steps": 1, "epochs": 1}, {"steps": 0}, {"steps": 5, "ema": 1.5}, {"steps": 5, "lr": 0}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match="recipe"):
        Recipe(**wrong)


def test_epochs_become_steps():
    assert Recipe(epochs=3, batch_size=10).total_steps(35) == 9
