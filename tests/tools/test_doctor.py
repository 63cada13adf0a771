"""The doctor's findings and its exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from hmu.errors import ConfigError, DataError
from hmu.tools.doctor import check, expand, run
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import settings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
WORDS = {"what": "w", "who": "somebody", "for": "p"}


def test_expand() -> None:
    assert expand("a/{x,y}.{npy,txt}") == ["a/x.npy", "a/x.txt", "a/y.npy", "a/y.txt"]


def test_states(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"1")
    (tmp_path / "zero.npy").touch()

    def state(name: str, **more) -> str:
        return check({"path": str(tmp_path / name), **WORDS, **more}).state

    assert state("x.npy") == "ok"
    assert state("{x,y}.npy") == "PARTLY"
    assert state("y.npy") == "MISSING"
    assert state("zero.npy") == "EMPTY"
    assert state("y.npy", optional=True) == "optional"
    assert state("", kind="folder", pattern="*.npy", count=2) == "ok"
    assert state("", kind="folder", pattern="*.npy", count=3) == "PARTLY"
    assert state("", kind="folder", pattern="*.txt") == "EMPTY"
    assert state("no", kind="folder") == "MISSING"
    with pytest.raises(ConfigError, match="lacks"):
        check({"path": "x"})


def test_report_and_exit_code(tmp_path: Path, capsys) -> None:
    root = write_layout(tmp_path / "Tiny")
    requirement = {"path": str(root / "{Mean,Std}.npy"), **WORDS}
    dataset = {
        "_target_": "hmu.data.dataset.DatasetSource", **settings("bvh"), "name": "tiny", "root": str(root),
        "features": FEATURES,
        "cache_dir": str(tmp_path / "cache"), "requirements": [requirement],
    }  # fmt: skip
    assert run(OmegaConf.create({"dataset": dataset, "deep": True}))[0].fine
    told = capsys.readouterr().out
    assert "everything is there" in told
    assert "opened 7 clips, 617 frames: all sound, but only 6 of 7 will ever be used; never: shorter than 40" in told
    dataset["min_frames"] = 24
    run(OmegaConf.create({"dataset": dataset, "deep": True}))
    assert "617 frames: all sound, all of them are used" in capsys.readouterr().out
    np.save(root / "Std.npy", np.zeros(FEATURES))
    with pytest.raises(DataError, match=r"Std\.npy: column 0 of 5 is 0"):
        run(OmegaConf.create({"dataset": dataset, "deep": True}))
    (root / "Std.npy").unlink()
    with pytest.raises(SystemExit) as stopped:
        run(OmegaConf.create({"dataset": dataset, "deep": False}))
    assert stopped.value.code == 1
    text = capsys.readouterr().out
    assert "no Std.npy" in text
    assert "somebody" in text
    (root / "texts" / "a.txt").unlink()
    with pytest.raises(DataError, match=r"no caption file \(1\): a"):
        run(OmegaConf.create({"dataset": dataset, "deep": True}))


@pytest.mark.parametrize("path", sorted((CONFIGS / "dataset").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_requirement_is_well_formed(path: Path) -> None:
    node = OmegaConf.load(path)
    base = OmegaConf.create({"paths": {"root": "r", "data": "d", "checkpoints": "c", "cache": "k"}, "dataset": node})
    for requirement in OmegaConf.to_container(base.dataset.requirements, resolve=True):
        assert check(requirement).detail
