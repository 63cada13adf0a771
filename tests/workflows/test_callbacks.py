"""Lightning callbacks that a user names in the configuration: by group, by list, or one of their own."""

from __future__ import annotations

import csv
import json

import pytest
from lightning.pytorch.callbacks import Callback

from tests.workflows.toy import QUIET, TOY, inputs, run
from train import train
from unlearn import unlearn

LR = "{_target_: lightning.pytorch.callbacks.LearningRateMonitor}"


class Counting(Callback):
    """Somebody's own."""

    seen: list[tuple[str, int]] = []  # noqa: RUF012

    def __init__(self, word: str) -> None:
        self.word = word

    def on_train_batch_end(self, trainer, *_):
        self.seen.append((self.word, trainer.global_step))


def unlearning(world, folder, *more: str) -> dict:
    short = [
        "method=finetune",
        "method.steps=12",
        "method.batch_size=4",
        "evaluate=false",
        "trainer.log_every_n_steps=1",
    ]
    run("unlearn", unlearn, *short, *inputs(world), *QUIET, "logger=csv", f"hydra.run.dir={folder}", *more)
    return json.loads((folder / "run.json").read_text())


def training(world, folder, *more: str) -> dict:
    small = [f"recipes.backbone.vae.{key}" for key in ("steps=8", "batch_size=4", "validate_every=3")]
    here = [
        f"dataset.root={world / 'data'}",
        f"paths.cache={world / 'cache'}",
        "stage=vae",
        "trainer.log_every_n_steps=1",
    ]
    run("train", train, *here, *TOY, *small, *QUIET, "logger=csv", f"hydra.run.dir={folder}", *more)
    return json.loads((folder / "run.json").read_text())


def columns(folder) -> set[str]:
    (file,) = (folder / "logs").rglob("metrics.csv")
    with file.open(newline="") as stream:
        return set(next(csv.reader(stream)))


@pytest.mark.parametrize("job", [unlearning, training])
def test_by_list_by_group_and_ones_own(world, tmp_path, job):
    Counting.seen.clear()
    mine = "+callbacks.mine={_target_: tests.workflows.test_callbacks.Counting, word: hello}"
    job(world, tmp_path / "list", f"+trainer.callbacks=[{LR}]", mine)
    assert "lr-AdamW" in columns(tmp_path / "list")
    steps = [step for _, step in Counting.seen]
    assert {word for word, _ in Counting.seen} == {"hello"}
    assert steps == list(range(1, len(steps) + 1))
    job(world, tmp_path / "group", "callbacks=[rich,lr]")
    assert "lr-AdamW" in columns(tmp_path / "group")


def test_an_unlearning_stops_early_and_says_so(world, tmp_path):
    stop = [
        "callbacks.early_stopping.every=2",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=1000",
    ]
    record = unlearning(world, tmp_path / "run", "callbacks=early_stopping", *stop)
    told = record["edit"]["settings"]["training"]
    assert (told["steps"], told["of"]) == (4, 12)  # the first look sets the mark, the second sees no progress
    assert told["stopped"] == "a callback asked for it"


def test_a_training_stops_early_by_ours_and_by_lightnings_own(world, tmp_path):
    stop = [
        "callbacks.early_stopping.every=2",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=1000",
    ]
    assert training(world, tmp_path / "ours", "callbacks=early_stopping", *stop)["steps"] == {"vae": 4}
    own = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: train/loss, patience: 1, min_delta: 1000}"
    assert training(world, tmp_path / "own", f"+trainer.callbacks=[{own}]")["steps"] == {"vae": 6}  # after validations


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("+callbacks.mine={_target_: pathlib.Path}", "callbacks.mine: expected"),
        ("+trainer.callbacks=[5]", "trainer.callbacks.0: expected"),
        ("+callbacks.mine={_target_: lightning.pytorch.callbacks.LearningRateMonitor, typo: 1}", "typo"),
        ("+callbacks.mine={_target_: lightning.pytorch.callbacks.Nothing}", "does not exist"),
        ("+callbacks.mine={_target_: hmu.training.callbacks.EarlyStopping, every: 0}", "early_stopping.every=0"),
        ("callbacks=nothing", "nothing"),
    ],
)
def test_what_is_no_callback_is_refused_before_any_data_are_read(world, tmp_path, capsys, given, line):
    with pytest.raises(SystemExit) as left:
        unlearning(world, tmp_path / "run", given, f"dataset.root={tmp_path / 'nowhere'}")
    assert left.value.code == 2
    (said,) = (text for text in capsys.readouterr().err.splitlines() if text.startswith("error: "))
    assert line in said


def test_a_term_that_is_not_logged_is_said_with_those_that_are(world, tmp_path, capsys):
    with pytest.raises(SystemExit):
        unlearning(world, tmp_path / "run", "callbacks=early_stopping", "callbacks.early_stopping.monitor=val/loss")
    assert "callbacks.early_stopping.monitor=val/loss: there are loss, train/loss" in capsys.readouterr().err
