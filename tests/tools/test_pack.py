from __future__ import annotations

import json

import pytest
import torch
from omegaconf import OmegaConf

from hmu.backbones.salad import Salad
from hmu.compose import asset
from hmu.errors import CheckpointError, ConfigError
from hmu.evaluators import guo, tmr
from hmu.tools.pack import pack


def config(model, target, overwrite=False):
    return OmegaConf.create({"model": str(model), "target": str(target), "overwrite": overwrite})


def test_a_packed_model_loads_and_is_small(tmp_path):
    target = pack(config(asset("demo/salad"), tmp_path / "copy"))
    assert sum(p.stat().st_size for p in target.iterdir()) < 4e6
    assert Salad.load_pretrained(target).features == 263
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty.*overwrite=true"):
        pack(config(asset("demo/salad"), target))
    pack(config(asset("demo/salad"), target, overwrite=True))
    assert (target / "notes.txt").read_text() == "mine"
    assert Salad.load_pretrained(target).features == 263


def test_evaluators_are_packed_too_and_load_back_with_equal_embeddings(tmp_path):
    from tests.evaluators import test_guo, test_tmr

    for module, build in ((test_guo, guo.build), (test_tmr, tmr.build)):
        evaluator, data = module.small(), module.batch()
        evaluator.save_pretrained(tmp_path / evaluator.name)
        target = pack(config(tmp_path / evaluator.name, tmp_path / f"{evaluator.name}-copy"))
        packed = build(str(target))
        for ours, theirs in (
            (packed.embed_motion(data.motion, data.lengths), evaluator.embed_motion(data.motion, data.lengths)),
            (packed.embed_text(module.CAPTIONS), evaluator.embed_text(module.CAPTIONS)),
        ):
            assert torch.allclose(ours, theirs, atol=2e-2)
        again = build(str(pack(config(target, tmp_path / f"{evaluator.name}-again"))))
        assert again.fingerprint == packed.fingerprint  # half precision is exact the second time
        assert (target / "weights.safetensors").stat().st_size < (
            tmp_path / evaluator.name / "weights.safetensors"
        ).stat().st_size


def test_an_evaluator_of_an_earlier_version_is_packed(tmp_path):
    target = pack(config(asset("demo/evaluator"), tmp_path / "copy"))
    assert guo.build(str(target)).fingerprint == guo.build("asset:demo/evaluator").fingerprint


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
