"""Arguments of the Lightning trainer: what cannot work, or would be ignored, is said before any data are read."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar

from hmu.errors import ConfigError
from hmu.training import trainer
from hmu.training.trainer import check_trainer

FINE = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "enable_checkpointing": False}


@pytest.mark.parametrize(
    "more", [{}, {"devices": "auto"}, {"devices": "1"}, {"precision": "bf16-mixed"}, {"num_nodes": 1}]
)
def test_usual_arguments_pass(more):
    check_trainer(FINE | more)


@pytest.mark.parametrize("devices", [-1, 0, 10_000, "abc", "-1", "", [0], None, True, 1.5])
def test_devices_of_a_cpu_are_processes(devices):
    with pytest.raises(
        ConfigError, match=r"^trainer.devices=.*: expected a whole number from 1 to \d+, or auto"
    ) as caught:
        check_trainer(FINE | {"devices": devices})
    assert len(str(caught.value)) < 200


def test_all_gpus_may_be_asked_for_where_there_are_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for devices in (-1, 1, 4, "0,1", [0, 3], "auto"):
        trainer._check_devices(devices, "gpu")
    for devices in (5, 0, -2):
        with pytest.raises(ConfigError, match="from 1 to 4"):
            trainer._check_devices(devices, "gpu")


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"accelerator": "xyz"}, "trainer.accelerator=xyz: expected one of auto, gpu, cpu"),
        ({"precision": 7}, "trainer.precision=7: expected one of 32-true, 16-mixed, bf16-mixed"),
        ({"precision": "64-true"}, "trainer.precision=64-true"),
        ({"strategy": "foo"}, "trainer.strategy=foo: expected one of auto"),
        ({"strategy": "ddp_spawn"}, "trainer.strategy=ddp_spawn"),  # the trained weights would stay in the child
        ({"strategy": None}, "trainer.strategy=None"),
        ({"max_steps": 5}, r"trainer.max_steps=5: .*method.steps="),
        ({"max_epochs": 5}, r"trainer.max_epochs=5: .*recipes.*steps="),
        ({"max_time": "00:00:01:00"}, r"trainer.max_time=00:00:01:00"),
        ({"gradient_clip_val": 1.0}, r"trainer.gradient_clip_val=1.0: .*grad_clip="),
        ({"val_check_interval": 5}, r"trainer.val_check_interval=5: .*validate_every="),
        ({"fast_dev_run": True}, "trainer.fast_dev_run=True"),
        ({"logger": True}, "trainer.logger=True: give logger="),
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0"),
        ({"log_every_n_steps": -1}, "trainer.log_every_n_steps=-1"),
        ({"enable_progress_bar": "x"}, "trainer.enable_progress_bar=x: expected true or false"),
        ({"num_nodes": 0}, "trainer.num_nodes: .*positive integer"),
        ({"profiler": "foo"}, "trainer.profiler: "),
        ({"plugins": ["x"]}, "trainer.plugins: "),
        ({"limit_val_batches": -1}, "trainer.limit_val_batches: "),
        ({"enable_progress_bar": False, "callbacks": [RichProgressBar()]}, "trainer: .*RichProgressBar"),
    ],
)
def test_what_cannot_work_names_its_key_in_one_line(wrong, line):
    with pytest.raises(ConfigError, match=line) as caught:
        check_trainer(FINE | wrong)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_looking_is_silent_and_may_be_repeated(capfd):
    callbacks = [LearningRateMonitor()]
    check_trainer(FINE | {"callbacks": callbacks})
    check_trainer(FINE | {"callbacks": callbacks})
    assert capfd.readouterr().err == ""
