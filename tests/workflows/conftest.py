"""One toy world for every test of the workflows."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmu.data.demo import generate
from tests.workflows.toy import QUIET, TOY, run
from train import train


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Toy data, a toy backbone and a toy evaluator, each trained for two steps by the real commands."""
    root = tmp_path_factory.mktemp("world")
    (root / "data").mkdir()
    generate(root / "data", seed=0, clips=60)
    here = [f"dataset.root={root / 'data'}", f"paths.cache={root / 'cache'}", *QUIET, "logger=csv"]
    small = [
        f"recipes.{kind}.{stage}.{key}={value}"
        for kind, stage in (("backbone", "vae"), ("backbone", "denoiser"))
        for key, value in (("steps", 2), ("batch_size", 4), ("validate_every", 2))
    ]
    run("train", train, *here, *TOY, *small, f"hydra.run.dir={root / 'backbone'}")
    small = [
        f"recipes.evaluator.{stage}.{key}={value}"
        for stage in ("decomp", "match")
        for key, value in (("steps", 2), ("batch_size", 4), ("validate_every", 2))
    ]
    tiny = [f"evaluator.{name}=16" for name in ("word", "text_hidden", "motion_hidden", "movement_hidden", "width")]
    run("train", train, *here, "evaluator=demo", *tiny, *small, f"hydra.run.dir={root / 'evaluator'}")
    return root
