"""Where runs land: one folder per run, under the name of what it is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from hmu.compose import register_resolvers
from hmu.config import CONFIGS


@pytest.mark.parametrize(
    ("script", "overrides", "folder"),
    [
        ("train", ["stage=vae"], "train/demo/salad_demo/vae-all"),
        ("train", ["evaluator=guo", "dataset=humanml3d"], "train/humanml3d/guo/all-all"),
        ("train", ["backbone=salad", "partition=retain"], "train/demo/salad/all-retain"),
        ("unlearn", ["method=lora", "concept=wave"], "unlearn/demo/salad_demo/lora-wave"),
        ("evaluate", ["ckpt=x", "suite=full"], "evaluate/demo/salad_demo/full"),
    ],
)
def test_run_folder_is_named_after_what_is_trained_or_measured(monkeypatch, tmp_path, script, overrides, folder):
    monkeypatch.setenv("HMU_RUN_STAMP", "now")
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(script, [*overrides, f"paths.output={tmp_path}"], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(config)
    assert Path(config.hydra.run.dir) == tmp_path / folder / "now"
