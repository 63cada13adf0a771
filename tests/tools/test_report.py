"""``python -m hmu.tools.report``: folders as they are typed, files where they are expected."""

from __future__ import annotations

import runpy
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from hmu.tools.report import overrides
from tests.report.some_runs import write_run


def report(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["report", *words])
    monkeypatch.delitem(sys.modules, "hmu.tools.report", raising=False)
    GlobalHydra.instance().clear()
    try:
        runpy.run_module("hmu.tools.report", run_name="__main__", alter_sys=True)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_folders_become_runs_and_the_rest_stays(tmp_path):
    odd = tmp_path / "concept=kick,method.rank=4"
    odd.mkdir()
    assert overrides(["a/b", "seeds=false", str(odd)]) == ["seeds=false", f"runs=['a/b','{odd.as_posix()}']"]
    assert overrides(["runs=[x]"]) == ["runs=[x]"]


def test_a_sweep_whose_name_holds_anything(tmp_path, monkeypatch):
    folder = tmp_path / "concept=kick,method.rank=4's"
    write_run(folder / "method.rank=4", "method.rank=4")
    assert report(monkeypatch, str(folder), "published=humanml3d_violence", "columns=[forget/fid]") == 0
    assert (folder / "report" / "report.html").is_file()
    assert report(monkeypatch, str(folder), f"out={tmp_path / 'again'}") == 0  # its own report is no run
    assert "Published" not in (tmp_path / "again" / "table.md").read_text()


def test_two_folders_need_a_place_and_get_one(tmp_path, monkeypatch):
    for name in "ab":
        write_run(tmp_path / name / "run")
    assert report(monkeypatch, str(tmp_path / "a"), str(tmp_path / "b"), f"paths.output={tmp_path / 'out'}") == 0
    assert len(list((tmp_path / "out" / "reports").glob("*/report.html"))) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "'nowhere' is no folder"),
        ([], "no value for runs"),
        (["nowhere", "published=humanml"], "humanml3d_violence"),
    ],
)
def test_mistakes_are_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert report(monkeypatch, *words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert said in line
