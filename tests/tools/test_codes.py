"""The table of codes and a concept's list, without an edit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from hmu.compose import composed
from hmu.data.batch import MotionBatch
from hmu.errors import ConfigError
from hmu.methods.codebook.table import CodeTable
from hmu.tools.codes import run
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import settings
from tests.methods.fake_edits import CodeBackbone


class FiveColumns(CodeBackbone):
    """The toy tokenizer on the first columns of the tiny data set."""

    features = FEATURES

    def encode_codes(self, batch: MotionBatch, layers: int | None = None) -> torch.Tensor:
        kept = batch.motion[..., :3] / torch.tensor([50.0, 100.0, 1.0])
        return super().encode_codes(MotionBatch(kept, batch.lengths, batch.captions, batch.ids), layers)


def config(tmp_path: Path, **change):
    dataset = {
        "_target_": "hmu.data.dataset.DatasetSource",
        **settings("bvh"),
        "name": "tiny",
        "root": str(write_layout(tmp_path / "Tiny")),
        "features": FEATURES,
        "cache_dir": str(tmp_path / "cache"),
        "strict": False,
    }
    concept = {"_target_": "hmu.data.concepts.Concept", "name": "kick", "keywords": ["kick"]}
    method = composed("method", "lcr", ["method.codes=2", "method.layers=[0,2]", "method.min_support=0"])
    method.cache = str(tmp_path / "cache" / "codes")
    options = {
        "formats": ["csv"],
        "out": str(tmp_path / "out"),
        "forget_file": None,
        "retain_file": None,
        "overwrite": False,
    }
    backbone = {"_target_": f"{__name__}.FiveColumns"}
    nodes = {"dataset": dataset, "concept": concept, "method": method, "backbone": backbone, "device": "cpu"}
    return OmegaConf.create(nodes | options | change)


def test_the_table_and_the_lists_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr("hmu.methods.lcr.MIN_ROWS", 1)
    files = {path.name: path for path in run(config(tmp_path))}
    assert set(files) == {"codes.csv", "codes.yaml", "codes.json"}
    table = CodeTable.load(files["codes.csv"])
    assert {name.partition("#")[0] for name in table.names} == {"a", "b", "Mb", "c"}  # not d, which is too short
    told = json.loads(files["codes.json"].read_text())
    lists = yaml.safe_load(files["codes.yaml"].read_text())
    assert lists == [sorted(layer["codes"]) for layer in told["layers"].values()]
    assert list(told["layers"]) == ["0", "2"]


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        run(config(tmp_path))
    (tmp_path / "out" / "mine").unlink()
    with pytest.raises(ConfigError, match="method=lcr"):
        run(config(tmp_path, method=composed("method", "esd")))
    with pytest.raises(ConfigError, match="no codebook"):
        run(config(tmp_path, backbone={"_target_": "tests.methods.fake.FakeBackbone"}))
