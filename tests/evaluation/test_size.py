"""Evaluations that cannot end here are refused before they begin."""

from __future__ import annotations

import shutil

import pytest
import torch

from hmu.checkpoints import store
from hmu.checkpoints.store import Store
from hmu.data.captions import Caption
from hmu.errors import ConfigError, DataError
from hmu.evaluation.generation import Model
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Suite
from hmu.motion.representation import HUMANML3D
from tests.evaluation.toy import PLAIN, Generating


def prompts(count: int = 100, frames: int = 200) -> PromptSet:
    return PromptSet("forget", (Caption("a person kicks"),) * count, torch.full((count,), frames), None, {}, HUMANML3D)


def check(tmp_path, **numbers) -> None:
    backbone = Generating()
    models = [Model(name, backbone, name) for name in ("base", "unlearned")]
    suite = Suite({}, {"forget": 1}, **{**PLAIN, "repeats": 1, "bootstrap": 0} | numbers)
    suite.check_size(models, [prompts()], 512, Store(tmp_path / "none yet"))


def test_a_usual_one_passes(tmp_path):
    check(tmp_path, repeats=10, bootstrap=200)


def test_years_bytes_and_draws(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"suite.repeats=20000000: 4e\+09 motions take about 46 days"):
        check(tmp_path, repeats=2 * 10**7)
    monkeypatch.setattr("hmu.checks.memory", lambda: 16e9)
    with pytest.raises(ConfigError, match=r"suite.repeats=1000000: the embeddings would need 410 GB of memory"):
        check(tmp_path, repeats=10**6)
    with pytest.raises(ConfigError, match=r"suite.bootstrap=50000000: the draws would need 80 GB of memory"):
        check(tmp_path, bootstrap=5 * 10**7)


def test_the_disk_counts_with_what_lies_there_already(tmp_path, monkeypatch):
    size = 4 * 2 * 100 * 200 * Generating.features
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, size - 1))
    with pytest.raises(DataError, match=r"generated motions may need 0.0 GB"):
        check(tmp_path)
    plan = Suite({}, {"forget": 1}, **{**PLAIN, "repeats": 1}).plan(0, Store(tmp_path / "none yet"))
    key = plan.key(Model("base", Generating(), "base"), prompts(), 0)
    Store(tmp_path / "none yet").save(key, torch.zeros(1))
    check(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"repeats": 0}, "suite.repeats=0"),
        ({"repeats": 10**9}, "suite.repeats=1000000000: .* years"),
        ({"bootstrap": 10**9}, "suite.bootstrap=1000000000: .* days"),
        ({"bootstrap": -1}, "suite.bootstrap=-1"),
        ({"steps": 0}, "suite.steps=0"),
        ({"guidance": float("nan")}, "suite.guidance=nan"),
        ({"batch_size": 0}, "suite.batch_size=0"),
        ({"limits": {"forget": -1}}, "suite.limits.forget=-1"),
    ],
)
def test_a_suite_checks_its_own_numbers(wrong, line):
    with pytest.raises(ConfigError, match=line):
        Suite(**{"metrics": {}, "limits": {"forget": 100_000}, **PLAIN} | wrong)


def test_published_limits_are_no_wish_for_so_many_prompts():
    Suite({}, {"forget": 100_000, "retain": 10**12}, **{**PLAIN, "repeats": 10})
