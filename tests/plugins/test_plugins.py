"""``docs/architecture.md``, "Adding things": a package from outside adds one of every kind, by files alone.

The package is ``site/``, copied away from the repository. Everything runs as a user runs it: the real command in a new
process, which knows the package by PYTHONPATH and a Hydra search path plug-in, or by ``--config-dir``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SITE = Path(__file__).with_name("site")
SMALL = ("hydra/job_logging=none", "suite.gallery=null")
UNLEARN = ("unlearn.py", "backbone=momask_demo", "method=uce")


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes:
        command: what uses it; check: what must then be true of the run folder and of what was printed.
    """

    command: Sequence[str]
    check: Callable[[Path, str], object]


def rows_of(folder: Path, metric: str) -> list[dict[str, object]]:
    rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if row["metric"] == metric]


def context(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["context"]
    return found


def sees_metric(folder: Path, _: str) -> None:
    """Its arrow, title, percent and place on the scoreboard come from what it declares."""
    (row,) = [r for r in rows_of(folder, "low_frames") if (r["model"], r["set"]) == ("base", "retain")]
    assert (row["direction"], row["kind"], row["title"]) == ("lower", "share", "Frames near the floor")
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    board = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["scoreboard"]
    if row["value"]:
        assert "low_frames" in board["keep_parts"]
    line = next(x for x in (folder / "report.md").read_text(encoding="utf-8").splitlines() if "↓" in x and named(x))
    assert re.search(r"[\d.]+ %", line), line
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r"(Frames near the floor|Low frames)", page)
    assert re.search(r"[\d.]+\s%", page[re.search(r"Frames near the floor|Low frames", page).start() :][:600])


def named(line: str) -> bool:
    return "low_frames" in line or "Frames near the floor" in line


def sees_method(folder: Path, _: str) -> None:
    edit = json.loads((folder / "edit" / "edit.json").read_text(encoding="utf-8"))
    assert (edit["method"], edit["settings"]["strength"]) == ("fade", 0.1)


def sees_detector(folder: Path, _: str) -> None:
    assert {row["model"] for row in rows_of(folder, "detector_rate") if row["label"] == "bloom"} >= {"base"}


def expects(key: str, value: str) -> Callable[[Path, str], object]:
    def check(folder: Path, _: str) -> None:
        assert context(folder)[key] == value

    return check


def sees_note(folder: Path, _: str) -> None:
    assert (folder / "note.txt").read_text() == "2 steps\n"


def sees_clips(_: Path, printed: str) -> None:
    assert re.search(r"^\d+ clips of demo/test name kick$", printed, re.MULTILINE)


TRAINED = ("unlearn.py", "backbone=momask_demo")
#: by the first column of the table in docs/architecture.md
KINDS = {
    "a concept": Kind((*UNLEARN, "concept=petal"), expects("concept", "petal")),
    "a detector": Kind((*UNLEARN, "concept=bloom"), sees_detector),
    "a method": Kind((*TRAINED, "method=fade"), sees_method),
    "a metric": Kind((*UNLEARN, "+metric@suite.metrics.low_frames=low_frames"), sees_metric),
    "a dataset": Kind((*UNLEARN, "dataset=garden"), expects("dataset", "garden")),
    "an evaluator": Kind((*UNLEARN, "evaluator=means"), expects("evaluator", "means")),
    "a backbone": Kind(("unlearn.py", "backbone=drift", "method=finetune"), expects("backbone", "drift")),
    "a Lightning callback": Kind((*TRAINED, "method=finetune", "callbacks=note", "evaluate=false"), sees_note),
    "a tool": Kind(("-m", "garden.tool", "concept=kick"), sees_clips),
}


@pytest.fixture
def package(tmp_path) -> Iterator[Path]:
    """The package, away from the repository, of which no file is touched while it is used."""
    site = tmp_path / "site"
    shutil.copytree(SITE, site, ignore=shutil.ignore_patterns("__pycache__"))
    before = repository()
    yield site
    assert repository() == before


def repository() -> dict[str, tuple[int, int]]:
    files = [REPOSITORY / name for name in ("unlearn.py", "evaluate.py", "train.py")]
    files += [path for folder in ("hmu", "configs", "docs") for path in (REPOSITORY / folder).rglob("*.*")]
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in files if p.suffix in (".py", ".yaml", ".md")}


def run(words: Sequence[str], folder: Path, *paths: Path) -> str:
    """The command in a new process; what it printed."""
    environment = {**os.environ, "HMU_DEBUG": "fast", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (*paths, REPOSITORY)))
    places = [f"paths.cache={folder.parents[1] / 'cache'}"]  # one for all tests
    places += [] if words[0] == "-m" else [f"hydra.run.dir={folder}", *SMALL]
    command = [sys.executable, *words, *places]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout


def table() -> list[str]:
    """The first column of the table "Adding things"."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    part = text.split("## Adding things", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| (an? [^|]+?) \|", part, re.MULTILINE)


def test_every_row_of_the_table_is_tried():
    assert table() == list(KINDS)


def test_all_kinds_together(package, tmp_path):
    """One command with a part of every kind; the other tests try each beside parts of ours."""
    words = ["unlearn.py", "backbone=drift", "method=fade", "concept=bloom", "dataset=garden", "evaluator=means"]
    words += ["callbacks=note", "+metric@suite.metrics.low_frames=low_frames"]
    printed = run(words, tmp_path / "run", package)
    for kind in (
        "a detector",
        "a method",
        "a metric",
        "a dataset",
        "an evaluator",
        "a backbone",
        "a Lightning callback",
    ):
        KINDS[kind].check(tmp_path / "run", printed)
    assert context(tmp_path / "run")["concept"] == "bloom"


def test_a_tool(package, tmp_path):
    kind = KINDS["a tool"]
    kind.check(tmp_path, run(kind.command, tmp_path / "run", package))


def test_a_folder_of_configurations_is_enough_where_no_code_is_new(package, tmp_path):
    shutil.copytree(package / "garden" / "configs" / "concept", tmp_path / "mine" / "concept")
    (tmp_path / "mine" / "concept" / "bloom.yaml").unlink()
    run([*UNLEARN, f"--config-dir={tmp_path / 'mine'}", "concept=petal", "evaluate=false"], tmp_path / "run")
    assert json.loads((tmp_path / "run" / "edit" / "edit.json").read_text())["concept"] == "petal"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a tool"])
def test_each_kind_beside_ours(kind, package, tmp_path):
    KINDS[kind].check(tmp_path / "run", run(KINDS[kind].command, tmp_path / "run", package))


@pytest.mark.slow
def test_a_run_with_parts_from_outside_is_measured_again(package, tmp_path):
    run([*TRAINED, "method=fade", "evaluate=false"], tmp_path / "run", package)
    again = ["evaluate.py", f"ckpt={tmp_path / 'run'}", "+metric@suite.metrics.low_frames=low_frames"]
    sees_metric(tmp_path / "again", run(again, tmp_path / "again", package))
