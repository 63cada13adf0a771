"""The options that a job runs with, its own or those of the run it measures."""

from __future__ import annotations

import json

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.overrides import choice, chosen_by


@pytest.fixture
def ran(tmp_path):
    """A run folder of MoMask."""
    folder = tmp_path / "ran"
    (folder / ".hydra").mkdir(parents=True)
    choices = {"dataset": "demo", "backbone": "momask_demo", "method": "lora", "experiment": None}
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": choices}}}))
    (folder / "config.yaml").write_text("job: unlearn\n")
    return folder


@pytest.fixture
def job(monkeypatch):
    """Composes ``evaluate`` as a running job."""
    instance = HydraConfig.instance()
    monkeypatch.setattr(instance, "cfg", None)

    def start(*overrides: str):
        register_resolvers()
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose("evaluate", overrides=list(overrides), return_hydra_config=True)
        instance.set_config(config)
        return config

    return start


def test_a_measured_run_names_the_output_folder_unless_the_command_line_does(job, ran, tmp_path):
    assert "/evaluate/demo/momask_demo/quick/" in job(f"ckpt={ran}").hydra.run.dir
    assert "/evaluate/demo/salad_demo/quick/" in job(f"ckpt={ran}", "backbone=salad_demo").hydra.run.dir
    assert "/evaluate/demo/bamm_demo/quick/" in job(f"ckpt={tmp_path}", "backbone=bamm_demo").hydra.run.dir
    assert "/evaluate/demo/salad_demo/quick/" in job("ckpt=nowhere").hydra.run.dir


def test_a_single_value_on_the_command_line_chooses_no_other_option(job, ran):
    single = job(f"ckpt={ran}", "backbone.checkpoint=x", "concept.anchor=y")
    assert "/evaluate/demo/momask_demo/quick/" in single.hydra.run.dir
    assert choice("backbone", single) == "momask_demo"


def test_choices_of_a_run_of_a_folder_in_it_and_of_an_edit_alone(job, ran, tmp_path):
    config = job(f"ckpt={ran}")
    assert (choice("backbone", config), choice("method", config), choice("nothing", config)) == (
        "momask_demo",
        "lora",
        None,
    )
    assert chosen_by(ran / "edit") == {"dataset": "demo", "backbone": "momask_demo", "method": "lora"}
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "edit.json").write_text(json.dumps({"method": "uce"}))
    assert chosen_by(alone) == {"method": "uce"}
    (alone / "edit.json").write_text("{")
    assert chosen_by(alone) == {}


def test_outside_a_job_nothing_is_chosen(job, monkeypatch):
    assert choice("backbone", OmegaConf.create({})) is None
