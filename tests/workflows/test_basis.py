"""Said before the work: data that are unlike the base's own, and a base that does not show the concept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from hmu.checkpoints.store import Store
from hmu.data.dataset import DatasetSource
from hmu.data.reading import GOOD
from hmu.evaluation.generation import Model
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Suite
from hmu.methods.edit import fingerprint
from hmu.motion.representation import HUMANML3D
from hmu.motion.statistics import motion_statistics
from hmu.workflows import basis
from hmu.workflows.basis import data_distance, warn_of_no_basis, warn_of_strange_data
from hmu.workflows.job import Job
from tests.datasets import dataset
from tests.evaluation.toy import KICKS, PLAIN, Generating, Words, prompts

WIDTH = 263


def data(root: Path, shift: float, clips: int, seed: int = 0) -> DatasetSource:
    """Clips whose bodies stand off by ``shift`` of their columns' deviations."""
    random = np.random.default_rng(seed)
    scale = np.random.default_rng(99).uniform(0.1, 2.0, WIDTH)
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True)
    for number in range(clips):
        rows = (random.normal(0, 1, WIDTH) + 0.5 * random.normal(0, 1, (60, WIDTH)) + shift) * scale
        np.save(root / "new_joint_vecs" / f"{number}.npy", rows.astype(np.float32))
        (root / "texts" / f"{number}.txt").write_text("he walks#he/PRON walk/VERB#0.0#0.0\n")
    (root / "train.txt").write_text("".join(f"{number}\n" for number in range(clips)))
    return dataset("mine", root, cache_dir=root / "cache", splits=["train"])


class Base(nn.Module):
    """Keeps statistics as SALAD does."""

    name, features = "base", WIDTH

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def normalisation(self):
        return self.mean, self.std


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    pack = data(tmp_path_factory.mktemp("own") / "data", 0.0, 300).pack
    assert (pack.lines["state"] == GOOD).all()
    return Base(*motion_statistics(pack.motion[pack.offsets[i] : pack.offsets[i + 1]] for i in range(300)))


@pytest.mark.parametrize("clips", [3, 12, 60])
def test_parts_of_its_own_data_are_near_however_few(base: Base, tmp_path: Path, clips: int, caplog) -> None:
    source = data(tmp_path / "mine", 0.0, clips, seed=7)
    distance = data_distance(base, source)
    assert distance is not None
    assert distance < 0.45
    warn_of_strange_data(base, source)
    assert "is not like the data" not in caplog.text


@pytest.mark.parametrize("clips", [6, 60])
def test_other_bodies_are_far(base: Base, tmp_path: Path, clips: int, caplog) -> None:
    source = data(tmp_path / "mine", 1.2, clips, seed=7)
    assert data_distance(base, source) == pytest.approx(1.07, abs=0.2)  # 1.2 over the columns' own 1.12
    warn_of_strange_data(base, source)
    assert "data set 'mine' is not like the data that base was trained on (1." in caplog.text
    assert "train a base on your own data" in caplog.text


def test_nothing_is_said_where_nothing_is_known(base: Base, tmp_path: Path) -> None:
    source = data(tmp_path / "mine", 3.0, 3)
    assert data_distance(SimpleNamespace(normalisation=lambda: None, features=WIDTH), source) is None
    other = dataset("gait", tmp_path / "mine", features=63, cache_dir=tmp_path)
    assert data_distance(base, other) is None


def asked(share: float, tmp_path: Path, monkeypatch, **change) -> tuple[Generating, Suite, list[PromptSet]]:
    """Let a base whose motions show a kick in ``share`` of the answers, and always a walk, be asked before the work."""

    def seen(wanted: PromptSet, joints: torch.Tensor, concept: object) -> dict[str, torch.Tensor]:
        shown = {"forget": {"kick": share}, "retain": {"kick": 0.0, "walk": 1.0}}[wanted.name]
        return {label: (torch.arange(len(joints)) < value * len(joints)).double() for label, value in shown.items()}

    monkeypatch.setattr(basis, "look", seen)
    sets = [replace(prompts(name), representation=HUMANML3D) for name in ("forget", "retain")]
    sets[1].actions["walk"] = torch.ones(5, dtype=torch.bool)  # type: ignore[index]
    base, suite = Generating(), Suite({}, {"retain": 5}, **PLAIN)
    for key, value in change.items():
        setattr(base, key, value)
    config = OmegaConf.create({"dataset": {"_target_": "hmu.data.dataset.DatasetSource", "name": "demo"}, "seed": 3})
    config.paths = {"cache": str(tmp_path)}
    concept = replace(KICKS, detector="kick")
    warn_of_no_basis(Job(config, backbone=base, concept=concept, evaluator=Words(), sets=sets, suite=suite))
    assert suite.repeats == 2
    return base, suite, sets


def test_a_base_that_hardly_shows_the_concept_is_told_with_those_it_shows(tmp_path, monkeypatch, caplog) -> None:
    state = torch.get_rng_state()
    base, suite, sets = asked(0.2, tmp_path, monkeypatch)
    assert "asked for 'kick', the base shows it in only 20% [4–62, 5 prompts] of motions: no basis" in caplog.text
    assert "it does show walk (100%); the report will claim nothing" in caplog.text
    assert torch.equal(torch.get_rng_state(), state)  # the training that follows is the one without this question
    before = len(base.calls)
    model = Model("base", base, fingerprint(base))
    suite.ask([model], sets, Words(), 3, Store(tmp_path / "generated"))
    assert len(base.calls) == 2 * before  # of the two repeats the first is not generated again


def test_a_base_that_shows_it_is_asked_no_more(tmp_path, monkeypatch, caplog) -> None:
    base, _, _ = asked(0.6, tmp_path, monkeypatch)
    assert "no basis" not in caplog.text
    assert sum(base.calls) == 5  # the forget prompts alone


def test_who_reads_no_text_or_is_one_of_several_is_not_asked(tmp_path, monkeypatch, caplog) -> None:
    assert not asked(0.0, tmp_path, monkeypatch, reads_text=False)[0].calls
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not asked(0.0, tmp_path, monkeypatch)[0].calls
    assert "no basis" not in caplog.text
