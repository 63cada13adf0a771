"""What evaluate.py takes over from the run it measures: the command line changes what it names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from hmu import app
from hmu.run import load_config
from hmu.workflows.settling import completed, with_run
from tests.workflows.toy import run


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """The recorded configuration of a run on another machine: MoMask, jump, settings of its own."""
    folder = tmp_path_factory.mktemp("ran")
    there = ["paths.root=/elsewhere", "paths.data=/elsewhere/disk", "dataset=bvh", "backbone=momask_demo"]
    own = ["concept=jump", "concept.neighbours=[hop]", "backbone.sampling.steps=7", "backbone.text.layers=1"]
    own += ["evaluator=both", "evaluator@evaluator.second=tmr_demo"]
    run("unlearn", lambda c: OmegaConf.save(c, folder / "config.yaml", resolve=True), *there, *own, *quiet(folder))
    return folder


def quiet(folder: Path) -> list[str]:
    return ["hydra/job_logging=none", f"hydra.run.dir={folder}"]


def taken(ran: Path, *overrides: str) -> DictConfig:
    """The configuration that ``evaluate.py ckpt=<ran> <overrides>`` goes on with, resolved."""
    found: list[DictConfig] = []

    def task(config: DictConfig) -> None:
        found.append(with_run(config))
        OmegaConf.resolve(found[0])

    run("evaluate", task, f"ckpt={ran}", *overrides, *quiet(ran))
    return found[0]


def test_without_overrides_everything_is_the_runs(ran):
    config, recorded = taken(ran), load_config(ran)
    for group in ("backbone", "concept", "evaluator"):
        assert config[group] == recorded[group]


def test_a_value_changes_that_value_of_the_recorded_node(ran):
    recorded = load_config(ran)
    config = taken(ran, "concept.neighbours=[walk]", "backbone.sampling.guidance=1", "dataset.strict=false")
    assert (config.concept.name, list(config.concept.neighbours)) == ("jump", ["walk"])
    assert config.backbone._target_ == "hmu.backbones.momask.build"
    assert (config.backbone.sampling.guidance, config.backbone.sampling.steps) == (1, 7)
    assert (config.dataset.name, config.dataset.strict) == ("bvh", False)
    assert config.evaluator == recorded.evaluator


def test_a_dictionary_is_merged_into_the_recorded_node(ran):
    config = taken(ran, "concept={anchor: a person sits}", "backbone.sampling={guidance: 1}")
    assert (config.concept.name, config.concept.anchor) == ("jump", "a person sits")
    assert (config.backbone.sampling.guidance, config.backbone.sampling.steps) == (1, 7)


def test_added_and_forced_values_reach_the_recorded_node(ran):
    given = ["dataset.motion_dir=joints", "+concept.min_occurrence=2", "++backbone.sampling.steps=3"]
    config = taken(ran, *given)
    assert (config.concept.name, config.concept.min_occurrence) == ("jump", 2)
    assert config.backbone._target_ == "hmu.backbones.momask.build"
    assert (config.dataset.name, config.dataset.motion_dir, config.backbone.sampling.steps) == ("bvh", "joints", 3)


def test_a_deleted_value_is_deleted_in_the_recorded_node(ran):
    config = taken(ran, "~concept.target")
    assert config.concept.name == "jump"
    assert "target" not in config.concept


def test_a_group_inside_a_node_changes_that_part_of_it(ran):
    assert load_config(ran).backbone.text.layers == 1
    config = taken(ran, "text@backbone.text=compact")
    assert config.backbone._target_ == "hmu.backbones.momask.build"
    assert (config.backbone.text.layers, config.backbone.sampling.steps) == (2, 7)


def test_a_group_replaces_the_node(ran):
    config = taken(ran, "backbone=bamm_demo", "concept=hop")
    assert config.backbone._target_ == "hmu.backbones.bamm.build"
    assert config.backbone.sampling.get("steps") != 7
    assert config.concept.name == "hop"


def test_a_group_within_a_group_that_is_chosen_is_as_composed(ran):
    config = taken(ran, "evaluator=both", "evaluator@evaluator.first=guo", "evaluator.first.checkpoint=here")
    assert config.evaluator.first.checkpoint == "here"
    assert config.evaluator.second._target_ == "hmu.evaluators.tmr.build"
    assert config.concept.name == "jump"


def test_a_key_that_the_recorded_node_does_not_take_is_one_line(ran, capsys):
    with pytest.raises(SystemExit) as left:
        taken(ran, "backbone.vae.dropout=0.1")  # of the default, salad_demo
    assert left.value.code == app.EXIT_USER_ERROR
    assert "unknown key 'backbone.vae': hmu.backbones.momask.build takes" in capsys.readouterr().err


# -- paths -------------------------------------------------------------------------------------------------------------
def test_the_cache_is_always_this_machines(ran, tmp_path):
    assert taken(ran).dataset.cache_dir == taken(ran).paths.cache
    assert taken(ran, f"paths.cache={tmp_path}").dataset.cache_dir == str(tmp_path)
    assert taken(ran, "dataset.cache_dir=/mine").dataset.cache_dir == "/mine"


def test_nothing_is_written_into_a_folder_that_only_the_record_names(ran, tmp_path):
    recorded, own = load_config(ran), tmp_path / "own"
    recorded.dataset.cache_dir = str(own)
    OmegaConf.save(recorded, tmp_path / "config.yaml")
    own.mkdir()
    assert taken(tmp_path, "paths.cache=/now").dataset.cache_dir == "/now"
    assert taken(tmp_path, f"dataset.cache_dir={own}").dataset.cache_dir == str(own)


def test_data_that_are_gone_are_looked_for_below_the_paths_of_now(ran, tmp_path):
    here = f"paths.root={tmp_path}"
    (tmp_path / "data" / "bvh").mkdir(parents=True)
    assert taken(ran, here).dataset.root == str(tmp_path / "data" / "bvh")


def test_a_path_of_the_command_line_wins_even_where_nothing_is(ran, tmp_path):
    config = taken(ran, f"paths.data={tmp_path / 'new'}")
    assert config.dataset.root == str(tmp_path / "new" / "bvh")
    assert config.dataset.requirements[0].path == str(tmp_path / "new" / "bvh" / "new_joint_vecs")
    assert taken(ran, "paths.checkpoints=/models").dataset.root == "/elsewhere/disk/bvh"


def test_data_that_are_still_there_stay(ran, tmp_path):
    moved = tmp_path / "run"
    moved.mkdir()
    recorded = load_config(ran)
    (tmp_path / "old" / "bvh").mkdir(parents=True)
    recorded.paths.data, recorded.dataset.root = str(tmp_path / "old"), str(tmp_path / "old" / "bvh")
    OmegaConf.save(recorded, moved / "config.yaml")
    (tmp_path / "new" / "data" / "bvh").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HMU_ROOT", str(tmp_path / "new"))
        assert taken(moved).dataset.root == str(tmp_path / "old" / "bvh")


def test_what_a_record_lacks_comes_from_todays_file_of_the_same_target(ran, tmp_path):
    """A run of before a key was in its file: what is built has no number of its own."""
    old = OmegaConf.create(OmegaConf.to_container(load_config(ran)))
    today = taken(ran, "backbone=momask_demo").backbone
    del old.backbone.sampling["guidance"]
    del old.backbone["unlearn"]
    del old.backbone.text["width"]  # another option of `text` than the file's own may be chosen
    del old.concept["target"]
    OmegaConf.save(old, tmp_path / "config.yaml")
    config = taken(tmp_path)
    assert config.backbone.sampling.guidance == today.sampling.guidance
    assert config.backbone.unlearn == today.unlearn
    assert config.backbone.text.width == today.text.width
    assert (config.backbone.sampling.steps, config.backbone.text.layers) == (7, 1)  # what it has stays
    assert "target" not in config.concept  # absent: concepts and data sets describe themselves


def test_nothing_is_added_to_what_builds_something_else(ran, tmp_path):
    old = OmegaConf.create(OmegaConf.to_container(load_config(ran)))
    old.backbone = {"_target_": "hmu.backbones.salad.build", "sampling": {"_target_": old.backbone.sampling._target_}}
    OmegaConf.save(old, tmp_path / "config.yaml")
    config = taken(tmp_path)
    assert "vae" in config.backbone
    assert set(config.backbone.sampling) == {"_target_"}


def test_a_recorded_recipe_is_completed_stage_by_stage(tmp_path):
    kept: dict[str, object] = {}

    def task(config: DictConfig) -> None:
        recipes = OmegaConf.to_container(config.recipes, resolve=True)
        old = OmegaConf.to_container(config.recipes, resolve=True)
        stage = next(iter(old["backbone"]))  # type: ignore[index, call-overload, arg-type]
        del old["backbone"][stage]["lr"]  # type: ignore[index, call-overload]
        kept.update(now=recipes, then=completed(config, "recipes", old, tmp_path), old=old)

    run("train", task, "backbone=momask_demo", *quiet(tmp_path))
    assert kept["then"] == kept["now"] != kept["old"]
