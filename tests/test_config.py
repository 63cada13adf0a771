from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from hmu.compose import register_resolvers
from hmu.config import CONFIGS, arguments, check_config, check_targets
from hmu.errors import ConfigError
from hmu.values import Keys
from tests.commands import of_header
from tests.conftest import REPOSITORY

ROOTS = [p.stem for p in sorted(CONFIGS.glob("*.yaml"))]
NO_GROUPS = ("hydra", "experiment")  # they change whole configurations
GROUP_FILES = sorted(p for p in CONFIGS.glob("*/*.yaml") if p.stem[0] != "_" and p.parent.name not in NO_GROUPS)
EXPERIMENTS = sorted(p for p in CONFIGS.glob("experiment/**/*.yaml") if p.stem[0] != "_")


def composed(root: str, *overrides: str):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(root, overrides=list(overrides), return_hydra_config=False)


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes_and_every_key_is_read(root):
    config = composed(root)
    check_targets(config)


@pytest.mark.parametrize("root", ROOTS)
def test_no_key_has_the_name_of_a_group_that_its_script_does_not_compose(root):
    """Hydra would take ``key=value`` for the choice of a file in that group."""
    plain = OmegaConf.load(CONFIGS / f"{root}.yaml")
    groups = {p.name for p in CONFIGS.iterdir() if p.is_dir()} - {"hydra"}
    assert not groups & {str(key) for key in plain}


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_group_file_has_only_keys_that_its_target_takes(path: Path):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(f"{path.parent.name}/{path.stem}")
    check_targets(config)


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_group_file_starts_with_the_command_that_uses_it(path: Path):
    head = path.read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("#"), f"{path} should start with a comment that says how it is used"


def name_of(experiment: Path) -> str:
    return experiment.relative_to(CONFIGS / "experiment").with_suffix("").as_posix()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_every_experiment_composes_with_the_scripts_that_use_it(path: Path):
    choice = f"experiment={name_of(path)}"
    roots = {command.config for command in of_header(path) if choice in command.overrides}
    assert roots <= {"train", "unlearn", "evaluate"}
    assert roots, f"{path.name} does not say which script uses it"
    for root in roots:
        check_targets(composed(str(root), choice))


@pytest.mark.parametrize("root", ["train", "unlearn", "evaluate"])
def test_an_experiment_that_does_not_exist_is_not_passed_over(root: str):
    with pytest.raises(MissingConfigException, match="bandai_wav"):
        composed(root, "experiment=bandai_wav")


def test_unknown_key_of_a_target_is_refused():
    config = OmegaConf.create({"trainer": {"_target_": "hmu.training.recipe.Recipe.total_steps", "clipz": 1}})
    with pytest.raises(ConfigError, match=r"trainer\.clipz.*clips"):
        check_targets(config)


def test_target_that_does_not_exist_is_named():
    config = OmegaConf.create({"a": {"_target_": "hmu.nowhere.Thing"}})
    with pytest.raises(ConfigError, match=r"hmu\.nowhere\.Thing"):
        check_targets(config)


def test_added_key_nothing_reads_is_refused():
    config = OmegaConf.create({"seed": 0, "typo": 1})
    with pytest.raises(ConfigError, match=r"unknown key 'typo'.*seed"):
        check_config(config, ["+typo=1"])


def test_missing_value_is_named():
    with pytest.raises(ConfigError, match="no value for ckpt"):
        check_config(OmegaConf.create({"ckpt": "???"}))


def test_arguments_read_from_source_agree_with_inspect():
    assert set(arguments("hmu.run.RunRecord") or ()) == {"folder", "config"}
    assert "max_steps" in (arguments("lightning.Trainer") or ())


SUITE = {"_target_": "hmu.evaluation.suite.Suite", "limits": {"forget": 1, "retain": 2}, "repeats": 1, "guidance": None}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("limits", 5, r"suite\.limits=5: expected a mapping \{name: a whole number"),
        ("limits.forget", "abc", r"suite\.limits\.forget=abc: expected a whole number"),
        ("limits.forget", None, r"suite\.limits\.forget=null"),
        ("repeats", 1.5, r"suite\.repeats=1\.5: expected a whole number"),
        ("repeats", "two", r"suite\.repeats=two"),
        ("repeats", True, r"suite\.repeats=True"),
        ("guidance", "abc", r"suite\.guidance=abc: expected a number \(not nan or inf\) or null"),
        ("guidance", float("nan"), r"suite\.guidance=nan"),
    ],
)
def test_a_value_that_does_not_fit_its_annotation_is_refused(key, value, expected):
    config = OmegaConf.create({"suite": SUITE})
    check_targets(config)
    OmegaConf.update(config, f"suite.{key}", value, force_add=True, merge=False)
    with pytest.raises(ConfigError, match=expected):
        check_targets(config)


class Some(Keys):
    scale: float
    columns: Sequence[str] | None
    match: Literal["word", "substring"] | None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("scale", "abc", "scale=abc: expected a number"),
        ("scale", float("nan"), "scale=nan"),
        ("scale", float("inf"), "scale=inf"),
        ("columns", 5, r"columns=5: expected a list \[text, …\] or null"),
        ("columns", ["a", 5], r"columns\.1=5: expected text"),
        ("match", "foo", "match=foo: expected word or substring or null"),
    ],
)
def test_top_keys_of_a_wrong_type_are_refused(key, value, expected):
    good = {"scale": 1, "columns": None, "match": "word"}
    with pytest.raises(ConfigError, match=expected):
        check_config(OmegaConf.create(good | {key: value}), keys=Some)


def test_numbers_that_are_none_are_refused_wherever_they_stand():
    for node in ({"a": {"b": float("nan")}}, {"a": [1.0, float("inf")]}):
        with pytest.raises(ConfigError, match=r"a\.[b1]=(nan|inf): expected a number"):
            check_config(OmegaConf.create(node))


def test_arguments_read_from_source_are_those_of_the_code():
    """Of every target in the configuration tree, inherited ones and those of dataclasses too."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml"))
    targets = sorted(set(re.findall(r"_target_: (hmu\.[\w.]+)", text)))
    assert len(targets) > 40
    for target in targets:
        module, _, name = target.rpartition(".")
        taken = {
            "**" if p.kind is p.VAR_KEYWORD else p.name
            for p in inspect.signature(getattr(import_module(module), name)).parameters.values()
        }
        assert set(arguments(target) or taken) == taken, target


def test_checking_a_configuration_of_ours_imports_no_torch():
    code = """
import sys
from hydra import compose, initialize_config_dir
from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.config import check_config
from hmu.tools.generate import Keys
register_resolvers()
with initialize_config_dir(str(CONFIGS), version_base="1.3"):
    check_config(compose("generate", overrides=["prompt=x", "paths.root=x"]), keys=Keys)
sys.stdout.write(str("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "False", done.stderr


def test_values_that_fit_or_come_from_elsewhere_are_let_through():
    there = {"scale": 1, "columns": None, "match": "word"}
    check_config(OmegaConf.create(there), keys=Some)
    check_config(OmegaConf.create(there | {"scale": "${top}", "top": 2}), keys=Some)
    with pytest.raises(ConfigError, match="scale="):
        check_config(OmegaConf.create(there | {"scale": "${top}", "top": "two"}), keys=Some)
    suite = {**SUITE, "guidance": 4, "metrics": {"fid": {"_target_": "hmu.metrics.fid.FID"}}, "repeats": "${n}"}
    check_targets(OmegaConf.create({"n": 1, "suite": suite}))
