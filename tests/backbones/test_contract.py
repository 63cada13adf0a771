"""A backbone that lacks a verb is refused when it is made; folders find their class in the configuration tree."""

from __future__ import annotations

import pytest
from torch import nn

from hmu.backbones.bamm import Bamm
from hmu.backbones.base import MotionBackbone
from hmu.backbones.gaitdynamics import GaitDynamics
from hmu.backbones.momask import MoMask
from hmu.backbones.salad import Salad
from hmu.checkpoints.pretrained import resolve, stored_class
from hmu.config_source import arguments
from hmu.errors import CheckpointError, ConfigError


class Stub(MotionBackbone):
    """Only a network."""

    name = "stub"

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)


def test_what_is_missing_is_named_in_one_line():
    with pytest.raises(ConfigError) as error:
        Stub()
    line = str(error.value)
    assert "\n" not in line
    assert "Stub: no complete motion backbone, it lacks" in line
    for verb in ("corrupt", "prepare", "sample", "stage_loss", "stage_parameters", "stage_window"):
        assert verb in line
    assert "network" not in line.partition("lacks")[2]


@pytest.mark.parametrize(
    ("asset", "kind"), [("salad", Salad), ("momask", MoMask), ("bamm", Bamm), ("gait", GaitDynamics)]
)
def test_a_folder_finds_its_class_and_is_written_as_it_was(tmp_path, asset, kind):
    folder = resolve(f"asset:demo/{asset}")
    assert stored_class(folder) is kind
    packed = kind.load_pretrained(folder).save_pretrained(tmp_path, "float16")
    assert (packed / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()


def test_a_family_that_nothing_builds_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"family": "other"}')
    with pytest.raises(CheckpointError, match="'other' is none"):
        stored_class(tmp_path)


@pytest.mark.parametrize("family", ["salad", "momask", "bamm", "gaitdynamics"])
def test_keys_of_a_target_are_read_through_its_mark(family):
    taken = arguments(f"hmu.backbones.{family}.build")
    assert taken is not None
    assert {"checkpoint", "sampling", "variant"} <= set(taken)
    assert "**" not in taken
