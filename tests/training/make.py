"""Recipes with numbers that no test depends on, and whatever a test changes."""

from __future__ import annotations

from typing import Any

from hmu.training.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    numbers = {"batch_size": 64, "lr": 2e-4, "betas": (0.9, 0.99), "gamma": 0.1, "validate_every": 500}
    return Recipe(**numbers | changes)
