"""``train.py evaluator=tmr``: from the demo data to a folder that evaluations load."""

from __future__ import annotations

from pathlib import Path

import torch

from hmu.data.captions import Caption
from hmu.data.demo import generate
from hmu.evaluators.tmr import build
from tests.workflows.toy import QUIET, run
from train import train


def test_training_writes_a_folder_that_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    generate(tmp_path / "data", seed=0, clips=57)
    recipe = [f"recipes.evaluator.joint.{k}={v}" for k, v in (("steps", 2), ("batch_size", 4), ("validate_every", 2))]
    sizes = ["evaluator.width=8", "evaluator.ff=8", "evaluator.layers=1", "evaluator.text.width=8"]
    here = [
        f"dataset.root={tmp_path / 'data'}",
        f"paths.cache={tmp_path / 'cache'}",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    run("train", train, *here, *QUIET, "logger=none", "evaluator=tmr_demo", *sizes, *recipe)
    evaluator = build(tmp_path / "run" / "model")
    words = evaluator.embed_text([Caption("a person kicks"), Caption("a person walks")])
    assert words.shape == (2, 8)
    assert torch.isfinite(words).all()
    assert evaluator.text is not None
    assert evaluator.text.vocabulary
    assert not torch.equal(evaluator.std, torch.ones(263))
