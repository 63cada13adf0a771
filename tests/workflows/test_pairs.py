"""Pairs that cannot work are refused from their definitions, and the line says which can."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.compose import configured, register_resolvers
from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.methods.base import Method, offers
from hmu.workflows import parts as pairs
from tests.workflows.toy import run
from unlearn import unlearn


def method_of(name: str) -> Method:
    register_resolvers()
    return configured("method", name)


def class_of(name: str) -> type[MotionBackbone]:
    kind = pairs.backbone_class(OmegaConf.load(CONFIGS / "backbone" / f"{name}.yaml"))
    assert kind is not None
    return kind


def fits(backbone: str, method: str) -> bool:
    return method_of(method).fits(class_of(backbone)) is None


@pytest.mark.parametrize("path", sorted((CONFIGS / "backbone").glob("[!_]*.yaml")), ids=lambda p: p.stem)
def test_every_backbone_says_what_it_builds(path):
    assert issubclass(class_of(path.stem), MotionBackbone)


def test_lcr_needs_codebooks_and_the_closed_forms_layers_that_read_text():
    assert not fits("salad_demo", "lcr")
    assert fits("momask_demo", "lcr")
    assert all(fits(backbone, "uce") for backbone in ("salad_demo", "momask_demo", "bamm_demo"))


def test_a_class_and_an_object_are_asked_alike():
    assert offers(class_of("momask"), "codebooks")
    assert not offers(class_of("salad"), "codebooks")


def test_the_refusal_comes_before_data_and_weights_and_names_what_works(tmp_path, capsys):
    nowhere = [f"dataset.root={tmp_path / 'nothing'}", "backbone.checkpoint=/nothing"]
    with pytest.raises(SystemExit) as ended:
        run("unlearn", unlearn, "method=lcr", "hydra/job_logging=none", f"hydra.run.dir={tmp_path / 'run'}", *nowhere)
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "method=lcr does not fit backbone salad: it has no codebook" in line
    methods, backbones = line.partition("methods that fit salad: ")[2].split("; backbones that lcr fits: ")
    assert {"esd", "lora", "finetune", "uce", "rece"} <= set(methods.split(", "))
    assert "lcr" not in methods.split(", ")
    assert {"momask", "momask_demo", "bamm", "bamm_demo"} <= set(backbones.split(", "))
    assert not any(name.startswith("salad") for name in backbones.split(", "))


def test_a_target_without_a_known_class_is_left_to_the_object():
    assert pairs.backbone_class(OmegaConf.create({"_target_": "hmu.errors.HmuError"})) is None
    assert pairs.backbone_class(OmegaConf.create({})) is None
    pairs.check_fit(method_of("lcr"), None)
    with pytest.raises(ConfigError, match="does not fit"):
        pairs.check_fit(method_of("lcr"), class_of("salad"))
