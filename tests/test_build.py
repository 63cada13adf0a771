"""Received configurations call nothing but what the configuration tree names for the very place."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from hmu.build import check_plain, check_received, completed, instantiate
from hmu.checkpoints.pretrained import stored_class
from hmu.compose import configured, register_resolvers
from hmu.config import CONFIGS
from hmu.errors import CheckpointError, ConfigError, HmuError
from hmu.run import load_config
from hmu.workflows.reference import check_reference
from hmu.workflows.settling import FROM_RUN, with_run
from tests.compact import numbers
from tests.conftest import REPOSITORY
from tests.hostile import plant
from tests.workflows.toy import run

DEMO = REPOSITORY / "hmu" / "assets" / "demo"
CONCEPT = {"_target_": "hmu.data.concepts.Concept", "name": "kick", "keywords": ["kick"]}
DATASET = {"_target_": "hmu.data.dataset.DatasetSource", "name": "demo", "root": None}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("received")
    return folder, plant(folder)


def unharmed(folder: Path) -> bool:
    return not (folder / "ran").exists() and (folder / "x.pt").is_file() and "payload" not in sys.modules


def write_config(folder: Path, **groups: object) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({"paths": {}, **groups}))


# -- what is refused ---------------------------------------------------------------------------------------------------
def hidden(node: dict) -> dict[str, dict]:
    """The node at every place where Hydra would find it."""
    return {
        "itself": {"concept": node},
        "in a list": {"concept": {**CONCEPT, "keywords": ["kick", [node]]}},
        "in a mapping": {"concept": {**CONCEPT, "overrides": {"demo": {"target": node}}}},
        "moved up by overrides": {"concept": {**CONCEPT, "overrides": {"demo": node}}},
        "nested": {"dataset": {**DATASET, "generator": {**node, "_partial_": True}}},
        "as the text encoder": {"backbone": {"_target_": "hmu.backbones.salad.build", "text": node}},
        "as options": {"backbone": {"_target_": "hmu.backbones.salad.build", "vae": node}},
        "as one of two": {"evaluator": {"_target_": "hmu.evaluators.both.EvaluatorPair", "first": node}},
        "beside a good one": {"dataset": {**DATASET, "requirements": [{"path": node}]}},
    }  # fmt: skip


def test_no_planted_target_is_built_from_a_run_folder(planted, tmp_path):
    """``ckpt=`` of the run folder, of its ``edit/``, and ``reference=``."""
    folder, nodes = planted
    (tmp_path / "edit").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete", "data": "other"}))
    tried = []

    def refused(config: DictConfig, said: str, *paths: Path) -> None:
        for path in paths:
            config.ckpt = str(path)
            with pytest.raises(CheckpointError, match="refused") as caught:
                with_run(config)
            assert said in str(caught.value)
            assert "trust=" in str(caught.value)
            assert "\n" not in str(caught.value)
            tried.append(path)

    def task(config: DictConfig) -> None:
        source, backbone = SimpleNamespace(fingerprint="here"), SimpleNamespace(stages=())
        with open_dict(config):
            config.reference = str(tmp_path)
        config.dataset.generator = None
        for target, node in nodes.items():
            hides = target in ("torch.load", "hmu.documents.write_text")
            places = hidden(node) if hides else {"itself": {"concept": node}}
            for groups in places.values():
                write_config(tmp_path, **groups)
                refused(config, target[:20], tmp_path, *([tmp_path / "edit"] if len(places) > 1 else []))
            ours = {"backbone": {"_target_": config.backbone._target_}}
            write_config(tmp_path, dataset={**node, "name": "demo"}, **ours)
            with pytest.raises(CheckpointError, match="'dataset' calls _target_="):
                check_reference(config, source, backbone)
            assert unharmed(folder), target

    run("evaluate", task, f"ckpt={tmp_path}", "hydra/job_logging=none", f"hydra.run.dir={tmp_path / 'out'}")
    assert len(nodes) >= 68
    assert len(tried) > len(nodes)


def test_no_planted_target_is_built_from_a_model_folder(planted, tmp_path):
    from hmu.backbones import momask, salad
    from hmu.text.stored import text_from_config
    from hmu.tools.import_bvh import load_mapping

    folder, nodes = planted
    for name, family in (("salad", salad), ("momask", momask)):
        shutil.copytree(DEMO / name, tmp_path / name)
        path = tmp_path / name / "config.json"
        config = json.loads(path.read_text())
        for target, node in nodes.items():
            path.write_text(json.dumps({**config, "text": node}, default=str))
            with pytest.raises(CheckpointError, match=r"text encoder is.*refused, nothing was run"):
                family.build(checkpoint=str(tmp_path / name))
            (tmp_path / "config.json").write_text(json.dumps({"family": target}))
            with pytest.raises(CheckpointError, match="none of hmu's models"):
                stored_class(tmp_path)
            with pytest.raises(CheckpointError, match="refused"):
                text_from_config({**node, "kind": target}, path)
    for node in nodes.values():
        (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(node, default=str))))
        with pytest.raises(HmuError):
            load_mapping(str(tmp_path / "mapping.yaml"))
    assert unharmed(folder)


@pytest.mark.parametrize(
    "kind", ["base", "clip", "cache", "stored", "", "..compact", "compact.x", None, 3, ["compact"]]
)
def test_a_kind_names_an_encoder_that_is_stored(kind, tmp_path):
    from hmu.text.stored import text_from_config

    with pytest.raises(CheckpointError, match="none that hmu stores"):
        text_from_config({"kind": kind}, tmp_path)
    with pytest.raises(CheckpointError, match="expected a kind"):
        text_from_config(kind, tmp_path)
    for named in ({"_target_": "hmu.text.compact.CompactTextEncoder"}, {"kind": "compact"}):
        assert text_from_config({**numbers(), **named, "width": 16}, tmp_path).width == 16
    with pytest.raises(CheckpointError, match="of another version"):
        text_from_config({"kind": "compact", "width": 16}, tmp_path)


@pytest.mark.parametrize("call", [{"_args_": ["x"]}, {"_partial_": True}, {"_convert_": "all"}, {"_recursive_": False}])
def test_how_it_is_called_is_the_trees_choice_too(call):
    check_received(CONCEPT, "concept", Path("config.yaml"))
    with pytest.raises(CheckpointError, match="refused"):
        check_received({**CONCEPT, **call}, "concept", Path("config.yaml"))
    with pytest.raises(CheckpointError, match="refused"):
        check_received(call, "concept", Path("config.yaml"))


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("concept", "hmu.data.demo.generate"),
        ("concept", "hmu.methods.lora.Lora"),
        ("dataset", "hmu.data.demo.generate"),
        ("dataset.generator", "hmu.data.dataset.DatasetSource"),
        ("backbone", "hmu.text.clip.build"),
        ("backbone.vae.text", "hmu.text.clip.build"),
        ("backbone.sampling", "lightning.Trainer"),
        ("evaluator", "lightning.pytorch.loggers.CSVLogger"),
        ("nowhere", "hmu.text.clip.build"),
        ("concept", ["hmu.data.concepts.Concept"]),
        ("concept", None),
    ],
)
def test_the_tree_names_it_elsewhere(place, target):
    with pytest.raises(CheckpointError, match="refused"):
        check_received({"_target_": target}, place, Path("config.yaml"))


def test_a_key_with_dots_is_not_the_place_that_the_command_line_gives():
    node = {"overrides": {"demo.target": {"_target_": "os.system"}}}
    with pytest.raises(CheckpointError, match="refused"):
        check_received(node, "concept", Path("config.yaml"), {"concept.overrides.demo.target"})
    check_received({"overrides": {"demo": {"target": node}}}, "concept", Path("x"), {"concept.overrides.demo.target"})


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:x}", "a ${paths.root} b", "${hmu.asset:x}", "\\${x}"])
def test_nothing_in_a_received_file_is_looked_up(tmp_path, value):
    for content in ({"concept": {"name": value}}, {"concept": [{"a": value}]}, {value: 1}):
        write_config(tmp_path, **content)
        with pytest.raises(CheckpointError, match="nothing in them is looked up"):
            load_config(tmp_path)
        with pytest.raises(CheckpointError):
            check_plain(content, tmp_path)


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40))])


@pytest.mark.parametrize(
    "text",
    [BOMB, "[" * 100_000, "a: &a [*a]", "!!python/object/apply:os.system [true]", "- 1", "a: 1\n" * 200_000, "\0"],
)
def test_bombs_end_in_one_line_within_a_second(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load_config(tmp_path)
    assert time.perf_counter() - start < 2  # the machine may be busy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [5, "text", [1], True])
@pytest.mark.parametrize("group", ["backbone", "paths", "concept", "suite"])
def test_groups_of_another_kind_are_refused(tmp_path, group, value):
    write_config(tmp_path, **{group: value})
    with pytest.raises(CheckpointError, match=f"'{group}' is .*, expected a mapping"):
        load_config(tmp_path)


def test_what_was_not_checked_is_not_built(tmp_path):
    write_config(tmp_path, concept=CONCEPT)
    ran = load_config(tmp_path)
    with pytest.raises(RuntimeError, match="check_received"):
        instantiate(ran.concept)
    with pytest.raises(RuntimeError, match="check_received"):
        instantiate(OmegaConf.merge(ran, {"a": 1}).concept)


# -- what is accepted --------------------------------------------------------------------------------------------------
WRITTEN_FOR_0_1 = [
    "[hmu.metrics.r_precision.RPrecision, {}, {pool: 32, top: 3, shuffles: 10}]",
    "[hmu.metrics.multimodality.MultiModality, {}, {pairs: null}]",
    "[hmu.metrics.retrieval.Retrieval, {protocol: all}, {count: 32, shuffles: 10}]",
    "[hmu.metrics.retrieval.SentenceRetrieval, {protocol: nsim, count: 100}, {threshold: 0.95}]",
    "[hmu.training.recipe.Recipe, {milestones: [10]}, {gamma: 0.1, validate_every: 500}]",
    "[hmu.evaluation.suite.Suite, {limits: {forget: 2}}, {repeats: 1, batch_size: 64, gallery: null, pages: null}]",
    "[hmu.backbones.salad.options.DenoiserOptions, {latent_dim: 256}, {max_positions: 5000, n_layers: 5}]",
    "[hmu.backbones.bamm.options.BidirectionalOptions, {latent_dim: 384}, {positions: 5000}]",
    "[hmu.backbones.tokens.options.TransformerOptions, {latent_dim: 384}, {positions: 5000}]",
    "[hmu.backbones.tokens.options.ResidualOptions, {latent_dim: 384}, {positions: 5000}]",
    "[hmu.evaluators.guo.build, {}, {width: 512, word: 300, learn_words: false}]",
]


def test_what_a_node_leaves_out_comes_from_the_file_of_its_target():
    """A node of one's own, or of version 0.1, that names only what is built."""
    metric = instantiate(OmegaConf.create({"_target_": "hmu.metrics.diversity.Diversity"}))
    file = yaml.safe_load((CONFIGS / "metric" / "diversity.yaml").read_text())
    assert metric.pairs == file["pairs"]
    given = instantiate(OmegaConf.create({"_target_": "hmu.metrics.diversity.Diversity", "pairs": 7}))
    assert given.pairs == 7
    suite = OmegaConf.create({"x": {"_target_": "builtins.dict", "m": {"_target_": "hmu.metrics.diversity.Diversity"}}})
    assert instantiate(suite).x["m"].pairs == file["pairs"], "at any depth"
    assert "pairs" not in suite.x.m, "the configuration itself stays as it was"


def test_where_files_differ_a_private_one_decides():
    recipe = instantiate(OmegaConf.create({"_target_": "hmu.training.recipe.Recipe", "steps": 3}))
    file = yaml.safe_load((CONFIGS / "recipe" / "_default.yaml").read_text())
    assert (recipe.lr, recipe.batch_size, list(recipe.betas)) == (file["lr"], file["batch_size"], file["betas"])


def test_where_files_differ_and_none_decides_the_number_has_to_be_given():
    with pytest.raises(ConfigError, match=r"no value for .*'codes'"):
        instantiate(OmegaConf.create({"_target_": "hmu.backbones.tokens.options.RvqOptions"}))


@pytest.mark.parametrize("line", WRITTEN_FOR_0_1)
def test_a_file_of_0_1_has_the_numbers_that_were_its(line):
    """What the published file or an own one left out then, and the Python default that it meant."""
    target, given, meant = yaml.safe_load(line)
    node = completed(OmegaConf.create({"_target_": target, **given}))
    assert {key: node[key] for key in meant} == meant


@pytest.mark.parametrize("name", ["esd", "finetune", "lora", "uce", "rece", "lcr"])
def test_a_method_that_is_named_alone_is_that_of_its_file(name):
    target = yaml.safe_load((CONFIGS / "method" / f"{name}.yaml").read_text())["_target_"]
    root = OmegaConf.create({"paths": {"cache": "."}, "method": {"_target_": target}})
    assert instantiate(root.method) == configured("method", name)


def test_an_argument_that_a_target_does_not_take_is_one_line():
    node = OmegaConf.create({"a": {"_target_": "hmu.metrics.diversity.Diversity", "nonsense": 1}})
    with pytest.raises(ConfigError, match=r"unknown key 'a\.nonsense'"):
        instantiate(node)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("[!_]*.yaml"))


def recorded(config: DictConfig, tmp_path: Path) -> DictConfig:
    """The configuration as a run folder holds it."""
    (tmp_path / "config.yaml").unlink(missing_ok=True)
    OmegaConf.save(config, tmp_path / "config.yaml", resolve=True)
    return load_config(tmp_path)


def accepted(ran: DictConfig, tmp_path: Path) -> set[str]:
    """The groups that call something; all of them are accepted."""
    plain = OmegaConf.to_container(ran)
    for group, node in plain.items():  # type: ignore[union-attr]
        check_received(node, str(group), tmp_path / "config.yaml")
    return {str(group) for group, node in plain.items() if "_target_" in json.dumps(node)}  # type: ignore[union-attr]


def test_every_composed_configuration_of_the_tree_is_accepted_when_it_is_read_back(tmp_path):
    """Each option of each group at least once; how groups are combined changes no target."""
    register_resolvers()
    groups = ("backbone", "dataset", "method", "evaluator", "text", "suite", "logger", "trainer", "refine")
    found = {group: options(group) for group in groups}
    seen: set[str] = set()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for i in range(max(map(len, found.values()))):
            one = {group: names[i % len(names)] for group, names in found.items()}
            text = one.pop("text")
            given = [f"{group}={name}" for group, name in one.items()]
            given += ["evaluator=both", "evaluator@evaluator.first=tmr_demo"] if i == 0 else []
            given += (
                [] if one["backbone"].startswith("gait") else [f"text@backbone.text={text}", "+backbone.text.folder=x"]
            )
            given += ["experiment=bandai_wave"] if i == 1 else []
            given += [] if one["logger"] == "none" else ["logger.save_dir=x"]
            config = compose("unlearn", overrides=given)
            with open_dict(config):
                config.paths = {"root": "/r", "data": "/d", "cache": "/c", "output": "/o", "checkpoints": "/k"}
                config.run_name = "x"
            seen |= accepted(recorded(config, tmp_path), tmp_path)
    assert seen >= {*FROM_RUN, "method", "suite", "trainer", "logger", "refine"}


@pytest.mark.parametrize("group", ["concept", "recipe", "bvh_mapping", "metric", "published", "tuning"])
def test_every_file_of_a_group_is_accepted(group):
    places = {"recipe": "recipes.backbone", "metric": "metric", "tuning": "method"}
    for path in sorted((CONFIGS / group).rglob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        check_received(node, places.get(group, group), path)


def test_folders_written_before_are_accepted(tmp_path):
    """Targets in full, as every run folder so far has them; a run of another machine."""
    node = {**DATASET, "cache_dir": "/gone", "generator": {"_target_": "hmu.data.demo.generate", "_partial_": True}}
    write_config(tmp_path, dataset=node, concept=CONCEPT)
    ran = load_config(tmp_path)
    assert accepted(ran, tmp_path) == {"dataset", "concept"}


# -- what the user decides ---------------------------------------------------------------------------------------------
def test_what_the_command_line_gives_is_the_users_own():
    node = {"_target_": "mine.Concept", "inner": {"_target_": "mine.Inner"}}
    check_received(node, "concept", Path("config.yaml"), given=["concept._target_", "concept.inner._target_"])
    check_received(node, "concept", Path("config.yaml"), given=["concept"])
    for given in (["concept._target_"], ["concept.inner"], ["concept.name"], ["backbone"]):
        with pytest.raises(CheckpointError, match=r"mine\.(Concept|Inner)"):
            check_received(node, "concept", Path("config.yaml"), given=given)


def test_trust_names_folders(tmp_path):
    run_folder, other = tmp_path / "runs" / "a", tmp_path / "other"
    node = {"_target_": "mine.Concept"}
    for trust in (str(run_folder), [str(other), str(tmp_path / "runs")], str(tmp_path / "runs" / ".." / "runs")):
        check_received(node, "concept", run_folder / "config.yaml", trust=trust)
    for trust in (None, [], str(other), str(tmp_path / "runs" / "ab"), str(tmp_path / "run")):
        with pytest.raises(CheckpointError, match="trust="):
            check_received(node, "concept", run_folder / "config.yaml", trust=trust)


def test_trust_and_the_line_let_a_recorded_target_through(tmp_path):
    node = {**CONCEPT, "_target_": "mine.Concept"}
    write_config(tmp_path, concept=node)
    line = [f"ckpt={tmp_path}", "hydra/job_logging=none", f"hydra.run.dir={tmp_path / 'out'}"]
    found: list[str] = []

    def task(config: DictConfig) -> None:
        config.trust = str(tmp_path)
        with pytest.raises(HmuError, match=r"'mine\.Concept' does not exist"):  # it goes on to look for it
            with_run(config)
        config.trust = None
        with pytest.raises(CheckpointError, match="trust="):
            with_run(config)
        found.append("tried")

    run("evaluate", task, *line)
    typed = "concept._target_=hmu.data.concepts.Concept"
    run("evaluate", lambda c: found.append(with_run(c).concept._target_), *line, typed)
    assert found == ["tried", "hmu.data.concepts.Concept"]


def test_folders_of_the_config_search_path_are_the_tree_too(tmp_path):
    (tmp_path / "mine" / "concept").mkdir(parents=True)
    (tmp_path / "mine" / "text").mkdir()
    (tmp_path / "mine" / "experiment").mkdir()
    (tmp_path / "mine" / "concept" / "own.yaml").write_text("_target_: mine.Concept\ninner: {_target_: mine.Inner}\n")
    (tmp_path / "mine" / "text" / "own.yaml").write_text("_target_: mine.Text\n")
    experiment = "# @package _global_\ndataset: {_target_: mine.Dataset}\n"
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text(experiment)
    received = tmp_path / "mine" / "outputs" / "received"
    received.mkdir(parents=True)
    (received / "config.yaml").write_text("# @package _global_\nevaluator: {_target_: theirs.Evaluator}\n")
    good = {
        "concept": {"_target_": "mine.Concept", "inner": {"_target_": "mine.Inner"}},
        "backbone": {"_target_": "hmu.backbones.salad.build", "text": {"_target_": "mine.Text"}},
        "dataset": {"_target_": "mine.Dataset"},
    }
    bad = {"dataset": {"_target_": "mine.Text"}, "evaluator": {"_target_": "theirs.Evaluator"}}
    tried = []

    def task(config: DictConfig) -> None:
        for place, node in good.items():
            check_received(node, place, Path("config.yaml"))
        for place, node in bad.items():
            with pytest.raises(CheckpointError):
                check_received(node, place, Path("config.yaml"))
        tried.append(config)

    run(
        "evaluate",
        task,
        "ckpt=x",
        "hydra/job_logging=none",
        f"hydra.run.dir={tmp_path}",
        f"--config-dir={tmp_path}/mine",
    )
    assert tried
