"""Lists of clips instead of keywords: used where they hold clips, refused where they cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.errors import ConfigError, DataError
from hmu.workflows.settling import recorded_lists
from hmu.workflows.sides import check_lists, lists_of, partition
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import dataset

KICK = Concept("kick", ["kick"])


@pytest.fixture
def source(tmp_path: Path) -> DatasetSource:
    root = write_layout(tmp_path / "Tiny")
    (root / "train.txt").write_text("a\nb\n")
    (root / "test.txt").write_text("c\nf\nMb\n")
    return dataset("tiny", root, features=FEATURES, cache_dir=tmp_path / "cache")


@pytest.fixture
def given(tmp_path: Path):
    def make(forget: str, retain: str) -> DictConfig:
        for name, ids in (("w", forget), ("wo", retain)):
            (tmp_path / f"{name}.txt").write_text("\n".join(ids.split()) + "\n")
        return OmegaConf.create({"forget_file": str(tmp_path / "w.txt"), "retain_file": str(tmp_path / "wo.txt")})

    return make


def test_both_or_neither() -> None:
    assert lists_of(OmegaConf.create({"forget_file": None, "retain_file": None})) is None
    assert lists_of(OmegaConf.create({})) is None
    for one in ("forget_file", "retain_file"):
        with pytest.raises(ConfigError, match="belong together"):
            lists_of(OmegaConf.create({one: "x"}))


def test_lists_of_all_splits_divide_what_is_learnt_from_and_what_is_measured(source, given) -> None:
    config = given("b c", "a Mb e")
    learnt, measured = partition(config, source, "train", KICK), partition(config, source, "test", KICK, {})
    assert (learnt.forget, learnt.retain) == (("b",), ("a",))
    assert (measured.forget, measured.retain, measured.rule) == (("c",), ("Mb",), "files")
    assert check_lists(config, source, "test") is None


def test_lists_of_the_training_split_leave_the_measured_one_to_the_keywords(source, given) -> None:
    config = given("b", "a")
    assert partition(config, source, "train", KICK).forget == ("b",)
    measured = partition(config, source, "test", KICK, {})
    assert (measured.forget, measured.retain) == (("f",), ("c", "Mb"))
    with pytest.raises(DataError, match=r"'test': none of its 1 clips is in it; what is measured is suite\.split"):
        check_lists(config, source, "test")  # given to evaluate.py they can only be meant for measuring


def test_one_side_of_the_measured_split_is_not_guessed(source, given) -> None:
    with pytest.raises(DataError, match="retain_file on tiny, split 'test': none of its 1 clips is in it"):
        partition(given("b c", "a"), source, "test", KICK, {})


def test_a_run_is_measured_with_its_own_lists(source, given, tmp_path, caplog) -> None:
    ran, nothing = given("c", "Mb"), OmegaConf.create({"forget_file": None, "retain_file": None})
    assert recorded_lists(nothing, ran) == ran
    own = OmegaConf.create({"forget_file": "x", "retain_file": "y"})
    assert recorded_lists(own, ran) == own
    (tmp_path / "w.txt").unlink()
    assert recorded_lists(nothing, ran) == nothing
    assert "of that run are gone" in caplog.text
