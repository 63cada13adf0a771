"""A retain-only reference is one command and a column; one that cannot be compared is refused in one line."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from hmu.backbones.salad import Salad, build
from hmu.data.partition import Partition
from hmu.errors import CheckpointError, ConfigError
from hmu.evaluation.results import Results
from hmu.methods.edit import fingerprint
from hmu.workflows.reference import load_reference
from hmu.workflows.unlearn import unlearn
from tests.workflows.toy import QUIET, inputs, retain_reference, run


def test_unlearning_beside_a_reference_reports_recovery(world):
    trained = Partition.load(retain_reference(world) / "partition.json")
    assert trained.concept == "kick"
    folder = world / "runs" / "referenced"
    more = ["method=esd", "method.steps=1", "method.batch_size=4", f"reference={retain_reference(world)}"]
    more += ["logger=none", "suite.bootstrap=40"]
    run("unlearn", unlearn, *more, *inputs(world), *QUIET, f"hydra.run.dir={folder}")
    results = Results.load(folder / "metrics.json")
    assert {row.model for row in results.rows} == {"base", "unlearned", "reference"}
    told = [row for row in results.rows if row.recovery is not None]
    assert {row.model for row in told} == {"unlearned"}
    assert any(row.recovery_low is not None for row in told)
    assert all(row.direction == "reference" for row in results.rows if row.set == "forget")
    assert results.scoreboard["keep"] is not None
    assert results.context["reference"] == retain_reference(world).name  # reports are shown to others: no folders
    assert str(world) not in (folder / "report.md").read_text() + (folder / "report.html").read_text()
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Scoreboard" in report
    assert "| metric | base | unlearned | reference | change |" in report
    assert "fewer than 10 ×" in report  # two forget prompts


@pytest.fixture
def config(world):
    return OmegaConf.create(
        {
            "reference": str(retain_reference(world)),
            "concept": {"name": "kick"},
            "backbone": {"_target_": "hmu.backbones.salad.build", "checkpoint": str(world / "backbone" / "model")},
        }
    )


@pytest.fixture
def backbone(world):
    return build(checkpoint=str(world / "backbone" / "model"))


def test_the_reference_is_another_model_of_the_same_sizes(config, backbone):
    model = load_reference(config, backbone)
    assert model.name == "reference"
    assert model.backbone is not backbone
    assert model.fingerprint == fingerprint(model.backbone) != fingerprint(backbone)


def one_line(error) -> str:
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert "partition=retain" in text
    return text


def test_a_reference_that_is_no_run_folder_is_refused(config, backbone, tmp_path):
    config.reference = str(tmp_path / "nothing")
    with pytest.raises(CheckpointError) as error:
        load_reference(config, backbone)
    assert "nothing" in one_line(error)


def test_a_reference_of_another_family_is_refused(config, backbone):
    config.backbone._target_ = "hmu.backbones.momask.build"
    with pytest.raises(CheckpointError) as error:
        load_reference(config, backbone)
    assert "hmu.backbones.salad.build" in one_line(error)


def test_a_reference_that_has_seen_the_concept_is_refused(config, backbone, world):
    config.reference = str(world / "backbone")
    with pytest.raises(ConfigError) as error:
        load_reference(config, backbone)
    assert "partition=all" in one_line(error)
    config.reference, config.concept.name = str(retain_reference(world)), "punch"
    with pytest.raises(ConfigError) as error:
        load_reference(config, backbone)
    assert "concept=punch" in one_line(error)


def test_a_reference_of_other_sizes_is_refused(config):
    with pytest.raises(CheckpointError) as error:
        load_reference(config, Salad(vae={"latent_dim": 4}, text_width=16))
    assert "other sizes" in one_line(error)
