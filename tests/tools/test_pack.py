from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf

from hmu.backbones.salad import load_pretrained
from hmu.compose import asset
from hmu.errors import CheckpointError, ConfigError
from hmu.tools.pack import pack


def config(model, target, overwrite=False):
    return OmegaConf.create({"model": str(model), "target": str(target), "overwrite": overwrite})


def test_a_packed_model_loads_and_is_small(tmp_path):
    target = pack(config(asset("demo/salad"), tmp_path / "copy"))
    assert sum(p.stat().st_size for p in target.iterdir()) < 4e6
    assert load_pretrained(target).features == 263
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty.*overwrite=true"):
        pack(config(asset("demo/salad"), target))
    pack(config(asset("demo/salad"), target, overwrite=True))
    assert (target / "notes.txt").read_text() == "mine"
    assert load_pretrained(target).features == 263


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        pack(config(tmp_path, tmp_path / "copy"))
    (tmp_path / "config.json").write_text('{"family": "other"}')
    with pytest.raises(CheckpointError, match="'other' is none"):
        pack(config(tmp_path, tmp_path / "copy"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="broken"):
        pack(config(tmp_path, tmp_path / "copy"))


def test_a_folder_with_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        pack(config(asset("demo/salad"), tmp_path))
    with pytest.raises(ConfigError, match="did not write"):
        pack(config(asset("demo/salad"), tmp_path, overwrite=True))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_all_packaged_weights_stay_within_their_20_megabytes():
    from pathlib import Path

    folder = Path(asset("demo"))
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 20e6
    assert json.loads((folder / "salad" / "config.json").read_text())["family"] == "salad"
