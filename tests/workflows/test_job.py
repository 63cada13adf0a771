"""A job is built once: each part when it is first asked for, and never again; with and without a command line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import hydra.utils
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from hmu.compose import composing, configured
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.keys import Unlearn
from hmu.methods import edit
from hmu.run import RunRecord
from hmu.workflows import job as job_
from hmu.workflows.job import Job
from tests.workflows.toy import QUIET, inputs, retain_reference, run
from unlearn import unlearn


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often each target of a configuration is built, prompt sets are made, and weights are hashed."""
    counts: Counter[str] = Counter()

    def counting(name: str, function):
        def call(*arguments, **named):
            counts[name] += 1
            return function(*arguments, **named)

        return call

    build = hydra.utils.instantiate

    def instantiate(node, *arguments, **changes):
        counts[str(OmegaConf.select(OmegaConf.create(node), "_target_"))] += 1
        return build(node, *arguments, **changes)

    monkeypatch.setattr(hydra.utils, "instantiate", instantiate)
    monkeypatch.setattr(edit, "hashed", counting("hashed", edit.hashed))
    monkeypatch.setattr(job_.Prompting, "sets", counting("sets", job_.Prompting.sets))
    monkeypatch.setattr(job_, "load_reference", counting("reference", job_.load_reference))
    return counts


def test_everything_is_built_once_in_a_measured_unlearning_beside_a_reference(world, tmp_path, counted):
    reference = retain_reference(world)
    counted.clear()
    words = [*inputs(world), "method=esd", "method.steps=1", "method.batch_size=2", "logger=none", *QUIET]
    run("unlearn", unlearn, *words, f"reference={reference}", f"hydra.run.dir={tmp_path / 'run'}")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"
    once = {
        "hmu.evaluation.suite.Suite": 1,
        "hmu.evaluators.guo.build": 1,
        "hmu.data.dataset.DatasetSource": 1,
        "hmu.methods.esd.Esd": 1,
        "hmu.backbones.salad.build": 2,  # the base and the reference
        "sets": 1,
        "reference": 1,
        "hashed": 2,  # each backbone's weights
    }
    assert {name: counted[name] for name in once} == once


def test_jobs_of_one_process_need_no_hydra(world, tmp_path):
    """As a library: one after the other, each with a folder of its own, nothing of Hydra left behind."""
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    words = [*inputs(world), "method=esd", "method.steps=1", "method.batch_size=2", "logger=none", "trainer=cpu"]
    words += ["evaluate=false", "threads=1"]
    folders = []
    for concept in ("kick", "jump"):
        with composing("unlearn", [*words, f"concept={concept}"]) as config:
            folders.append(unlearn(config))
        assert not HydraConfig.initialized()
        assert not GlobalHydra.instance().is_initialized()
    assert len(set(folders)) == 2
    for folder, concept in zip(folders, ("kick", "jump"), strict=True):
        assert folder.is_relative_to(world / "outputs")
        assert json.loads((folder / "run.json").read_text())["status"] == "complete"
        assert json.loads((folder / "edit" / "edit.json").read_text())["concept"] == concept


def test_mistakes_are_those_of_the_command_line(tmp_path):
    for words, said in (
        (["concept=kik"], "concept=kik: no such choice; there are"),
        (["method.steps=-1"], "method.steps=-1"),
        (["lr=1"], "method.lr"),
    ):
        with pytest.raises(ConfigError, match=said), composing("unlearn", words, tmp_path / "run") as config:
            unlearn(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "said"), [(ConfigError("no way"), ("failed", "no way")), (KeyboardInterrupt(), ("interrupted", "Keyb"))]
)
def test_the_record_says_how_a_job_ended(tmp_path, error, said):
    """As the command line would."""

    def begun() -> None:
        with composing("unlearn", [f"paths.root={tmp_path}"], tmp_path / "run") as config:
            RunRecord(Job(config).claim(), config)
            raise error

    with pytest.raises(type(error)):
        begun()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["problem"][: len(said[1])]) == said


def test_names_that_there_are_not_are_one_line():
    for make, message in (
        (lambda: configured("method", "esdd"), "method=esdd: no such choice; there are esd"),
        (lambda: configured("methods", "esd"), "^methods: no such group of choices$"),
        (lambda: composing("unlearnt").__enter__(), "^unlearnt: no tool of hmu"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)
    with composing("unlearn", keys=Unlearn) as config:  # as a tool of another package gives its own
        assert config.job == "unlearn"


def test_parts_that_are_at_hand_are_given(tmp_path):
    own = Concept("bow", ["bow"], overrides={"demo": {"keywords": ["bows"]}})
    with composing("unlearn", [f"paths.root={tmp_path}"]) as config:
        job = Job(config, concept=own)
        assert tuple(job.concept.keywords) == ("bows",)  # as it is on this data set
        assert job.name("method") == "esd"
        with pytest.raises(TypeError, match="no part 'backbones'"):
            Job(config, backbones=None)


def test_a_job_that_fails_before_its_work_leaves_nothing(world, tmp_path):
    words = [*inputs(world), "method=esd", "logger=none", "trainer=cpu", "evaluate=false", "threads=1"]

    def halfway(folder: Path) -> None:
        with composing("unlearn", words, folder) as config:
            Job(config).claim()
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError):
        halfway(tmp_path / "run")
    assert not (tmp_path / "run").exists()
