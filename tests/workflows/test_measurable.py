"""What cannot be measured is said before anything is trained or generated, by unlearn.py and by evaluate.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluate import evaluate
from hmu import app
from hmu.evaluators.guo import GuoEvaluator
from hmu.evaluators.guo.evaluator import PUBLISHED
from tests.workflows.test_confusion import toy_tmr
from tests.workflows.toy import QUIET, inputs, retain_reference, run
from unlearn import unlearn


def refused(script: str, world: Path, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line that the command ends in; it has left no run folder behind."""
    own = any(word.startswith("evaluator=") for word in more)
    given = [word for word in inputs(world) if not (own and word.startswith("evaluator."))]
    given += [f"hydra.run.dir={folder}", *more]
    if script == "unlearn":
        given += ["method=esd", "method.steps=1", "method.batch_size=4", *QUIET, "logger=none"]
    else:
        given += [f"ckpt={world / 'backbone'}", "device=cpu", "hydra/job_logging=none"]
    with pytest.raises(SystemExit) as left:
        run(script, unlearn if script == "unlearn" else evaluate, *given)
    assert left.value.code == app.EXIT_USER_ERROR
    assert not (folder / "run.json").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Path:
    """A tiny evaluator of 251 columns."""
    folder = tmp_path_factory.mktemp("kit")
    sizes = {"word": 16, "text_hidden": 8, "motion_hidden": 8, "movement_hidden": 8, "movement_latent": 8, "width": 8}
    GuoEvaluator(features=251, **PUBLISHED, **sizes).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("script", ["unlearn", "evaluate"])
def test_an_evaluator_of_another_representation(script, world, kit, tmp_path, capsys):
    line = refused(script, world, tmp_path / "run", capsys, f"evaluator.checkpoint={kit}")
    assert "evaluator 'guo' reads 251 columns but dataset 'demo' has 263" in line


def test_the_first_of_two_evaluators_is_looked_at_too(world, kit, tmp_path, capsys):
    two = ["evaluator=both", f"evaluator.first.checkpoint={kit}"]
    two += [f"evaluator.second.checkpoint={toy_tmr(tmp_path / 'tmr')}"]
    line = refused("unlearn", world, tmp_path / "run", capsys, *two)
    assert "evaluator 'guo' reads 251 columns" in line


@pytest.mark.parametrize("script", ["unlearn", "evaluate"])
def test_a_gallery_of_an_unknown_split(script, world, tmp_path, capsys):
    line = refused(script, world, tmp_path / "run", capsys, "suite.gallery=foo")
    assert "suite.gallery=foo: 'foo' is no split of demo" in line


@pytest.mark.parametrize("script", ["unlearn", "evaluate"])
def test_a_reference_that_is_none(script, world, tmp_path, capsys):
    line = refused(script, world, tmp_path / "run", capsys, f"reference={world / 'backbone'}")
    assert "partition=all" in line


def test_a_reference_that_is_the_base(world, tmp_path, capsys):
    other = retain_reference(world)
    same = [f"reference={other}", f"backbone.checkpoint={other / 'model'}"]
    assert "the base itself" in refused("unlearn", world, tmp_path / "run", capsys, *same)
