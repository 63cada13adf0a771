"""Evaluations that cannot end here are refused before they begin."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch

from hmu.data.captions import Caption
from hmu.errors import ConfigError, DataError
from hmu.evaluation import size
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.size import check_size
from hmu.evaluation.suite import Suite
from hmu.motion.representation import HUMANML3D
from tests.evaluation.toy import PLAIN


def prompts(count: int = 100, frames: int = 200) -> PromptSet:
    return PromptSet("forget", (Caption("a person kicks"),) * count, torch.full((count,), frames), None, {}, HUMANML3D)


def check(tmp_path, **wanted) -> None:
    check_size(
        SimpleNamespace(**{"repeats": 1, "bootstrap": 0} | wanted), [prompts()], 2, 263, 512, tmp_path / "none yet"
    )


def test_a_usual_one_passes(tmp_path):
    check(tmp_path, repeats=10, bootstrap=200)


def test_years_bytes_and_draws(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"suite.repeats=1000000000: 200,000,000,000 motions take about 6 years"):
        check(tmp_path, repeats=10**9)
    monkeypatch.setattr("hmu.checks.memory", lambda: 16e9)
    with pytest.raises(ConfigError, match=r"suite.repeats=1000000: the embeddings would need 410 GB of memory"):
        check(tmp_path, repeats=10**6)
    with pytest.raises(ConfigError, match=r"suite.bootstrap=100000000: the draws would need 160 GB of memory"):
        check(tmp_path, bootstrap=10**8)


def test_the_disk_counts_with_what_lies_there_already(tmp_path, monkeypatch):
    monkeypatch.setattr(size.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 40_000_000))
    with pytest.raises(DataError, match=r"200 generated motions may need 0.0 GB"):
        check(tmp_path)  # 42 MB
    (tmp_path / "none yet").mkdir()
    (tmp_path / "none yet" / "a.npy").write_bytes(bytes(3_000_000))
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
