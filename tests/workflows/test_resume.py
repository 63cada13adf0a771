"""An interrupted training that is taken up ends with the weights of an undisturbed one, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hmu.training.pretraining import PretrainingModule
from tests.conftest import REPOSITORY
from tests.workflows.toy import QUIET, TOKENS, TOY, run
from train import train

STEPS, EVERY, KILLED = 5, 2, 3
WIDTHS = ("word", "text_hidden", "motion_hidden", "movement_hidden", "width")
GAIT = [f"backbone.decoder.{size}" for size in ("latent_dim=16", "ff_dim=24", "layers=1", "heads=2")]
#: what is trained: overrides, kind, and the stages in order; dropout, averages of weights and codebooks are among them
MODELS = {
    "salad": (TOY, "backbone", ["vae", "denoiser"]),
    "momask": (["backbone=momask_demo", *TOKENS], "backbone", ["rvq", "masked", "residual", "length"]),
    "bamm": (["backbone=bamm_demo", *TOKENS], "backbone", ["rvq", "masked", "residual"]),
    "guo": (["evaluator=demo", *(f"evaluator.{key}=16" for key in WIDTHS)], "evaluator", ["decomp", "match"]),
    "tmr": (["evaluator=tmr_demo"], "evaluator", ["joint"]),
    "gait": (["backbone=gait_demo", "dataset=gait", "dataset.stride=25", *GAIT], "backbone", ["denoiser"]),
}


class Killed(BaseException):
    """Stands for a kill: nothing of the command runs after it."""


def command(world: Path, model: str, folder: Path, *more: str) -> list[str]:
    """A training of all stages: so few clips to a batch that a stage passes over the data several times."""
    overrides, kind, stages = MODELS[model]
    sizes = (("steps", STEPS), ("batch_size", 10), ("validate_every", EVERY))
    small = [f"recipes.{kind}.{stage}.{key}={value}" for stage in stages for key, value in sizes]
    data = f"dataset.trials={world / 't'}" if model == "gait" else f"dataset.root={world / 'data'}"
    here = [data, f"paths.cache={world / 'cache'}", *QUIET, "logger=none"]
    return [*overrides, *small, *here, f"hydra.run.dir={folder}", *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = (folder / "model").rglob("*.safetensors")
    return load_file(file)


def start_and_kill(words: list[str], stage: str, step: int = KILLED) -> None:
    """The command, up to the middle of ``step`` of ``stage``."""
    whole, patch = PretrainingModule.training_step, pytest.MonkeyPatch()

    def until(self, batch, batch_idx):
        if self.stage == stage and self.global_step == step:
            raise Killed
        return whole(self, batch, batch_idx)

    patch.setattr(PretrainingModule, "training_step", until)
    try:
        with pytest.raises(Killed):
            run("train", train, *words)
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def material(world, tmp_path_factory) -> Path:
    """The toy data set, and trials of gait beside it."""
    from hmu.gait.trial import write_trial
    from tests.gait.conftest import demo_trial

    root = tmp_path_factory.mktemp("material")
    shutil.copytree(world / "data", root / "data")
    for number in range(2):
        for style in ("walk", "crouch", "stiff_knee", "run"):
            write_trial(root / "t" / f"S{number}" / style / "t.npz", demo_trial(style, 0.5, 2.0, number))
    return root


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bamm", "guo", "tmr")]


@pytest.mark.parametrize("model", ["salad", "momask", "gait", *SLOW])
def test_killed_in_every_stage_and_taken_up_each_time(material, tmp_path, model):
    run("train", train, *command(material, model, tmp_path / "whole"))
    before: list[str] = []
    for number, stage in enumerate(MODELS[model][2]):
        folder = tmp_path / f"killed{number}"
        start_and_kill(command(material, model, folder, *before), stage)
        before = [f"resume={folder}"]
    run("train", train, *command(material, model, tmp_path / "end", *before))
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "end")
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    record = json.loads((tmp_path / "end" / "run.json").read_text())
    assert [name.removeprefix("train_") for name in record["timings"]] == MODELS[model][2]  # references look at it
    assert record["resumed"] == str(folder)


@pytest.fixture(scope="module")
def killed(material, tmp_path_factory) -> Path:
    """A run that was killed in its first stage, behind the first checkpoint."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    start_and_kill(command(material, "salad", folder), "vae")
    return folder


@pytest.fixture
def refused(material, tmp_path, capsys):
    """The line with which a resumed training is refused; nothing is written."""

    def call(*more: str, model: str = "salad") -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            run("train", train, *command(material, model, tmp_path / "new", *more))
        assert left.value.code == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert len(line) < 400
        assert not (tmp_path / "new" / "model").exists()
        return line

    return call


def test_nothing_to_resume(refused, world, material, tmp_path):
    assert "resume: '/nope' is not a folder" in refused("resume=/nope")
    assert "not a run folder" in refused(f"resume={material}")
    assert "is complete" in refused(f"resume={world / 'backbone'}")
    other = tmp_path / "unlearned"
    shutil.copytree(world / "backbone", other)
    text = (other / "config.yaml").read_text().replace("job: train", "job: unlearn")
    (other / "config.yaml").write_text(text)
    assert "no run of train.py" in refused(f"resume={other}")


def test_a_run_without_a_checkpoint_is_trained_anew(refused, material, tmp_path):
    start_and_kill(command(material, "salad", tmp_path / "early"), "vae", step=EVERY - 1)
    assert "before its first checkpoint" in refused(f"resume={tmp_path / 'early'}")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("stage=vae", "stage=all, this command has vae"),
        ("seed=4", "seed=3, this command has 4"),
        ("backbone.vae.latent_dim=12", "backbone.vae.latent_dim=8, this command has 12"),
        ("recipes.backbone.denoiser.lr=1", "recipes.backbone.denoiser.lr=0.001, this command has 1"),
        ("partition=retain", "partition=all, this command has retain"),
        ("trainer.precision=bf16-mixed", "trainer.precision=32-true, this command has bf16-mixed"),
        ("callbacks=early_stopping", "callbacks"),
    ],
)
def test_another_training_is_refused_with_the_key_that_differs(refused, killed, change, key):
    assert key in refused(f"resume={killed}", change)


def test_another_model_is_refused(refused, killed):
    assert "resume: " in refused(f"resume={killed}", model="momask")


def test_what_changes_no_number_may_differ(killed, material, tmp_path):
    more = [f"resume={killed}", "trainer.enable_model_summary=true", "threads=1", "concept=punch"]
    run("train", train, *command(material, "salad", tmp_path / "new", *more))
    assert json.loads((tmp_path / "new" / "run.json").read_text())["status"] == "complete"


def test_other_data_are_refused(refused, killed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(killed, copy)
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"data": "0" * 16}))
    assert "other files of dataset 'demo'" in refused(f"resume={copy}")


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def older(path: Path) -> None:
    torch.save({k: v for k, v in torch.load(path, weights_only=True).items() if k != "hmu_noise"}, path)


def resized(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["state_dict"] |= {next(iter(content["state_dict"])): torch.zeros(3)}
    torch.save(content, path)


@pytest.mark.parametrize(
    ("change", "line"),
    [(damaged, "truncated"), (older, "does not hold the whole state"), (resized, "differs in size or is missing")],
)
def test_a_checkpoint_that_cannot_be_used_is_said_in_one_line(refused, killed, tmp_path, change, line):
    copy = tmp_path / "copy"
    shutil.copytree(killed, copy)
    change(copy / "checkpoints" / "vae.ckpt")
    assert line in refused(f"resume={copy}")


@pytest.mark.slow
def test_kill_minus_nine_of_the_real_command(material, tmp_path):
    """Killed at any moment after the first checkpoint, twice: the third command ends with the undisturbed weights."""
    environment = {name: value for name, value in os.environ.items() if name != "HMU_RUN_STAMP"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    long = ["recipes.backbone.vae.steps=60", "stage=vae"]

    def begin(folder: Path, *more: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "train.py", *command(material, "salad", folder, *long, *more)]
        return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=-3, stderr=-3)

    assert begin(tmp_path / "whole").wait(300) == 0
    more: list[str] = []
    for number in range(2):
        folder = tmp_path / f"killed{number}"
        process, path = begin(folder, *more), folder / "checkpoints" / "vae.ckpt"
        seen: set[int] = set()
        while process.poll() is None and len(seen) < 6:  # some checkpoints later, wherever it is then
            if path.is_file():
                seen.add(path.stat().st_mtime_ns)
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "killed too late: this run shows nothing"
        more = [f"resume={folder}"]
    assert begin(tmp_path / "end", *more).wait(300) == 0
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "end")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
