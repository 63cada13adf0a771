"""The split tool, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hmu.errors import ConfigError
from hmu.tools.split import run
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import settings

KICK = "hmu.data.concepts.Concept"
REPOSITORY = Path(__file__).resolve().parents[2]


def config(tmp_path: Path, **change):
    dataset = {
        "_target_": "hmu.data.dataset.DatasetSource",
        **settings("bvh"),
        "name": "tiny",
        "root": str(tmp_path / "Tiny"),
        "features": FEATURES,
        "cache_dir": str(tmp_path / "cache"),
    }
    concept = {"_target_": KICK, "name": "kick", "keywords": ["kick"], "exceptions": ["kick off"]}
    options = {"splits": ["train", "test"], "match": None, "min_occurrence": None, "output": None}
    switches = {"audit": True, "overwrite": False}
    return OmegaConf.create({"dataset": dataset, "concept": concept} | options | switches | change)


def test_writes_lists_partition_and_audit(tmp_path: Path, capsys) -> None:
    write_layout(tmp_path / "Tiny")
    (tmp_path / "Tiny" / "test.txt").write_text("f\ne\n")
    (tmp_path / "Tiny" / "val.txt").write_text("c\n")
    run(config(tmp_path))
    folder = tmp_path / "Tiny" / "kw_splits"
    assert (folder / "train-w-kick.txt").read_text() == "a\n"
    assert (folder / "test-wo-kick.txt").read_text() == "e\n"
    assert json.loads((folder / "partition-train-kick.json").read_text())["forget"] == ["a"]
    assert "a,forget,0,'kicks' in line 1" in (folder / "audit-train-kick.csv").read_text()
    told = capsys.readouterr().out
    assert "train-w-kick.txt: 1 ids" in told
    assert "train: never read, so on neither side: shorter than 40 frames (1): d" in told
    assert "d,skipped,0,shorter than 40 frames," in (folder / "audit-train-kick.csv").read_text()
    run(config(tmp_path))
    with pytest.raises(ConfigError, match="exists"):
        run(
            config(
                tmp_path,
                concept={"_target_": KICK, "name": "kick", "keywords": ["walk", "wave"]},
            )
        )
    (folder / "audit-train-kick.csv").write_text("with my remarks")
    for overwrite, message in ((False, "exists"), (True, "was changed after this tool wrote it")):
        with pytest.raises(ConfigError, match=message):
            run(config(tmp_path, overwrite=overwrite))
    assert (folder / "audit-train-kick.csv").read_text() == "with my remarks"


def test_published_lists_need_no_motions(tmp_path: Path) -> None:
    root = write_layout(tmp_path / "Tiny", lengths={})
    (root / "train.txt").write_text("a\nghost\nb\nf")
    run(config(tmp_path, splits=["train"], match="substring", audit=False, output=str(tmp_path / "out")))
    assert (tmp_path / "out" / "train-w-kick.txt").read_bytes() == b"a\n"
    assert (tmp_path / "out" / "train-wo-kick.txt").read_bytes() == b"ghost\nb\n"


def test_command_line_says_mistakes_in_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "hmu.tools.split",
        "dataset=bvh",
        f"dataset.root={tmp_path / 'none'}",
        "concept=hmu/kick",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    assert done.returncode == 2
    assert "does not exist" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
