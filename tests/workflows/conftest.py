"""One toy world for every test of the workflows."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmu.data.demo import generate
from hmu.gait.trial import write_trial
from tests.gait.conftest import demo_trial
from tests.workflows.toy import QUIET, TOY, gait_here, run
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


@pytest.fixture(scope="session")
def gait(tmp_path_factory) -> Path:
    """Four styles of three people, and a toy model trained on them by the real command."""
    root = tmp_path_factory.mktemp("gait")
    for number in range(3):
        for style in ("walk", "crouch", "stiff_knee", "run"):
            write_trial(root / "t" / f"S{number}" / style / "t.npz", demo_trial(style, 0.5, 2.0, number))
    sizes = ["latent_dim=16", "ff_dim=24", "layers=1", "heads=2"]
    small = [f"recipes.backbone.denoiser.{key}" for key in ("steps=2", "batch_size=4", "validate_every=2")]
    toy = [f"backbone.decoder.{size}" for size in sizes]
    run(
        "train", train, *gait_here(root), *toy, *small, "backbone.checkpoint=null", f"hydra.run.dir={root / 'backbone'}"
    )
    return root
