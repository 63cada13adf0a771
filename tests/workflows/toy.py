"""Whole scripts in this process, and settings that make them take seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from hmu import app
from hmu.config import CONFIGS

QUIET = ["trainer=cpu", "trainer.enable_progress_bar=false", "hydra/job_logging=none", "seed=3"]
TOY = [
    "backbone.vae.latent_dim=8",
    "backbone.denoiser.latent_dim=16",
    "backbone.denoiser.ff_dim=16",
    "text@backbone.text=compact",
]
TOY += ["backbone.text.width=16", "backbone.text.buckets=64", "backbone.text.layers=1", "backbone.sampling.steps=2"]
TINY = {"latent_dim": 16, "n_heads": 2, "n_layers": 1, "ff_size": 16}
TOKENS = [f"backbone.{part}.{key}={value}" for part in ("masked", "residual") for key, value in TINY.items()]
TOKENS += ["backbone.rvq.codes=32", "backbone.rvq.code_dim=8", "backbone.rvq.width=16", "backbone.rvq.depth=1"]
TOKENS += [
    "backbone.rvq.quantizers=3",
    "backbone.rvq.quantize_dropout=0",
    "backbone.text.width=16",
    "backbone.text.buckets=64",
    "backbone.text.layers=1",
]
#: sizes by backbone, and settings of sampling that take seconds
SIZES = {"salad_demo": TOY, "momask_demo": TOKENS, "bamm_demo": TOKENS}
SAMPLING = {"bamm_demo": ["backbone.sampling.refine_share=0.5"]}
FAST = [
    "suite.limits={forget:2,retain:4,neighbours:2,paraphrase:1,implicit:1}",
    "suite.repeats=2",
    "suite.batch_size=8",
]


def run(script: str, task, *overrides: str) -> None:
    patch = pytest.MonkeyPatch()
    last = {word.partition("=")[0]: word for word in overrides}  # a key given twice is a mistake
    patch.setattr(sys, "argv", [f"{script}.py", *last.values()])
    patch.delenv("HMU_RUN_STAMP", raising=False)
    GlobalHydra.instance().clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        app.main(script, task)
    finally:
        torch.set_num_threads(threads)
        patch.undo()


def toy_backbone(world: Path, name: str) -> Path:
    """The model folder of a toy backbone that every stage of the real command has trained for a step; made once."""
    from train import train

    folder = world / ("backbone" if name == "salad_demo" else f"backbone-{name}")
    if not folder.is_dir():
        recipe = yaml.safe_load((CONFIGS / "recipe" / f"{name}.yaml").read_text(encoding="utf-8"))
        small = [
            f"recipes.backbone.{stage}.{key}={value}"
            for stage in recipe
            for key, value in (("steps", 1), ("batch_size", 4), ("validate_every", 1))
        ]
        here = [f"dataset.root={world / 'data'}", f"paths.cache={world / 'cache'}", *QUIET, "logger=none"]
        run("train", train, f"backbone={name}", *here, *SIZES[name], *small, f"hydra.run.dir={folder}")
    return folder / "model"


def inputs(world: Path, backbone: str = "salad_demo") -> list[str]:
    return [
        f"dataset.root={world / 'data'}",
        f"paths.cache={world / 'cache'}",
        f"paths.output={world / 'outputs'}",
        f"backbone.checkpoint={toy_backbone(world, backbone)}",
        *SAMPLING.get(backbone, ["backbone.sampling.steps=2"]),
        f"evaluator.checkpoint={world / 'evaluator' / 'model'}",
        *FAST,
    ]


def retain_reference(world: Path, *overrides: str) -> Path:
    """The run folder of a toy model that was trained without kicks, by the real command; made once."""
    from train import train

    folder = world / "reference"
    if folder.is_dir() and not overrides:
        return folder
    small = [
        f"recipes.backbone.{stage}.{key}={value}"
        for stage in ("vae", "denoiser")
        for key, value in (("steps", 1), ("batch_size", 4), ("validate_every", 1))
    ]
    here = [f"dataset.root={world / 'data'}", f"paths.cache={world / 'cache'}", *QUIET, "logger=none"]
    chosen = [f"hydra.run.dir={folder}", "partition=retain", "concept=kick", *overrides]
    run("train", train, *here, *TOY, *small, *chosen)
    return folder


GAIT_FAST = ["suite.limits={forget:4,retain:4}", "suite.repeats=2", "suite.batch_size=8", "logger=csv"]


def gait_here(root: Path) -> list[str]:
    data = ["backbone=gait_demo", "dataset=gait", f"dataset.trials={root / 't'}", "dataset.stride=25"]
    return [*data, f"paths.cache={root / 'cache'}", *QUIET]


def gait_job(root: Path, *overrides: str) -> list[str]:
    model = [f"backbone.checkpoint={root / 'backbone' / 'model'}", "backbone.sampling.steps=2"]
    return [*gait_here(root), *model, "concept=crouch_gait", *GAIT_FAST, *overrides]
