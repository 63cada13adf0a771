"""A retain-only reference is one command and a column; one that cannot be compared is refused in one line."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.salad import build
from hmu.data.dataset import DatasetSource
from hmu.data.partition import Partition
from hmu.errors import CheckpointError, ConfigError
from hmu.evaluation.results import Results
from hmu.methods.edit import fingerprint
from hmu.run import load_config
from hmu.workflows.reference import check_reference, load_reference
from tests import published
from tests.workflows.toy import QUIET, inputs, retain_reference, run
from unlearn import unlearn


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
            "dataset": load_config(retain_reference(world)).dataset,
            "backbone": {"_target_": "hmu.backbones.salad.build", "checkpoint": str(world / "backbone" / "model")},
        }
    )


@pytest.fixture
def backbone(world):
    return build(checkpoint=str(world / "backbone" / "model"))


@pytest.fixture
def source(config) -> DatasetSource:
    return instantiate(config.dataset)


def test_the_reference_is_another_model_of_the_same_sizes(config, backbone):
    model = load_reference(config, backbone, fingerprint(backbone))
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
        load_reference(config, backbone, fingerprint(backbone))
    assert "nothing" in one_line(error)


def test_a_reference_of_another_family_is_refused(config, backbone, source):
    config.backbone._target_ = "hmu.backbones.momask.build"
    with pytest.raises(CheckpointError) as error:
        check_reference(config, source, backbone)
    assert "hmu.backbones.salad.build" in one_line(error)


def test_a_reference_that_has_seen_the_concept_is_refused(config, backbone, source, world):
    config.reference = str(world / "backbone")
    with pytest.raises(ConfigError) as error:
        check_reference(config, source, backbone)
    assert "partition=all" in one_line(error)
    config.reference, config.concept.name = str(retain_reference(world)), "punch"
    with pytest.raises(ConfigError) as error:
        check_reference(config, source, backbone)
    assert "concept=punch" in one_line(error)


def test_the_model_that_is_measured_is_no_reference(config, backbone):
    config.reference = str(config.backbone.checkpoint)
    with pytest.raises(ConfigError) as error:
        load_reference(config, backbone, fingerprint(backbone))
    assert "the base itself" in one_line(error)


def test_a_reference_of_other_sizes_is_refused(config):
    with pytest.raises(CheckpointError) as error:
        load_reference(config, published.backbone("salad", text=None, text_width=16, vae={"latent_dim": 4}), "base")
    assert "other sizes" in one_line(error)


# -- data --------------------------------------------------------------------------------------------------------------
def test_a_whole_reference_passes_without_a_word(config, backbone, source, caplog):
    check_reference(config, source, backbone)
    assert not caplog.records


def test_a_reference_of_another_data_set_is_refused(config, backbone, source):
    config.dataset.name = "humanml3d"
    with pytest.raises(ConfigError) as error:
        check_reference(config, source, backbone)
    assert "dataset=demo, but measured is humanml3d" in one_line(error)


def test_a_reference_of_other_files_of_that_name_is_refused(config, backbone, tmp_path):
    shutil.copytree(config.dataset.root, tmp_path / "data")
    text = next((tmp_path / "data" / "texts").iterdir())
    text.write_text(text.read_text(encoding="utf-8") * 2, encoding="utf-8")
    config.dataset.root = str(tmp_path / "data")
    with pytest.raises(ConfigError) as error:
        check_reference(config, instantiate(config.dataset), backbone)
    assert "other data of the name 'demo'" in one_line(error)


def test_the_same_files_may_be_read_otherwise(config, backbone, caplog):
    """As published: trained with the training reader, measured with the one for evaluation."""
    config.dataset.rule, config.dataset.max_frames = "original", 160
    with caplog.at_level(logging.WARNING):
        check_reference(config, instantiate(config.dataset), backbone)
    assert "read with other settings" in caplog.text


# -- the runs behind it ------------------------------------------------------------------------------------------------
class Chain:
    """Run folders of ``train.py`` without weights."""

    def __init__(self, folder: Path, config: DictConfig, stages: tuple[str, ...]) -> None:
        self.folder, self.config = folder, config
        self.backbone, self.source = SimpleNamespace(stages=stages), SimpleNamespace(fingerprint="data")

    def add(self, name: str, *stages: str, status: str = "complete", partition: str = "retain", **more: object) -> Path:
        home = self.folder / name
        (home / "model").mkdir(parents=True)
        ran = {"backbone": {"_target_": self.config.backbone._target_, "rvq_from": more.pop("rvq_from", None)}}
        ran |= {"partition": partition, "concept": {"name": "kick"}, "dataset": {"name": "demo"}, "init": None}
        OmegaConf.save(OmegaConf.create({**ran, "paths": {"root": str(self.folder)}, **more}), home / "config.yaml")
        record = {"status": status, "data": "data", "timings": {f"train_{stage}": 1.0 for stage in stages}}
        (home / "run.json").write_text(json.dumps(record))
        return home

    def check(self, home: Path) -> None:
        self.config.reference = str(home)
        check_reference(self.config, self.source, self.backbone)

    def refusal(self, home: Path) -> str:
        with pytest.raises((CheckpointError, ConfigError)) as error:
            self.check(home)
        (line,) = str(error.value).splitlines()
        return line


@pytest.fixture
def chain(config, tmp_path) -> Chain:
    return Chain(tmp_path, config, ("rvq", "masked", "residual", "length"))


def test_each_stage_may_be_a_run_of_its_own(chain, caplog):
    tokens = chain.add("V", "rvq")
    words = chain.add("M", "masked", init="V/model")  # relative to where it was started
    last = chain.add("L", "length", init=str(chain.add("R", "residual", init=str(words))))
    assert tokens.is_dir()
    chain.check(last)
    chain.check(last / "model")
    assert not caplog.records
    said = chain.refusal(words)
    assert "never trained in stage residual, length: python train.py stage=residual" in said


def test_a_run_that_is_not_finished_is_refused(chain):
    home = chain.add("A", "rvq", "masked", "residual", "length", status="running")
    assert "not finished (run.json: status running)" in chain.refusal(home)


def test_a_run_that_goes_back_to_one_that_has_seen_the_concept_is_refused(chain):
    base = chain.add("base", "rvq", "masked", "residual", "length", partition="all")
    said = chain.refusal(chain.add("tuned", "rvq", "masked", "residual", "length", init=str(base)))
    assert "goes back to a run that has seen it" in said
    assert "partition=all" in said


def test_a_tokenizer_that_has_seen_everything_is_a_note(chain, caplog):
    tokens = chain.add("V", "rvq", partition="all", status="running")  # interrupted later on: the stage was finished
    chain.check(chain.add("L", "masked", "residual", "length", init=str(tokens)))
    assert "its rvq is taken over" in caplog.text


def test_bamm_may_borrow_all_but_its_transformer(chain, caplog):
    chain.backbone.stages = ("rvq", "masked", "residual")
    donor = chain.add("donor", "residual", "length", init=str(chain.add("first", "rvq", "masked")))
    chain.check(chain.add("B", "masked", rvq_from=str(donor)))
    assert not caplog.records
    seen = chain.add("seen", "rvq", "masked", "residual", partition="all")
    chain.check(chain.add("C", "masked", rvq_from=str(seen)))
    assert "its tokenizer, residual transformer and text encoder is taken over" in caplog.text
    assert "stage masked" in chain.refusal(chain.add("D", "residual", rvq_from=str(donor)))


def test_a_trace_that_is_lost_is_a_warning(chain, caplog):
    chain.check(chain.add("L", "masked", "residual", "length", init="deleted"))
    assert "'deleted', and nothing there tells what was trained (among it rvq)" in caplog.text
    caplog.clear()
    (chain.folder / "bare" / "model").mkdir(parents=True)
    chain.check(chain.folder / "bare")
    assert "nothing in" in caplog.text


def test_a_damaged_record_is_one_line(chain):
    home = chain.add("A", "rvq")
    (home / "run.json").write_text("{")
    assert "run.json" in chain.refusal(home)
