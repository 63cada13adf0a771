"""Trainings that diverge stop at the first bad step, name the key, and leave nothing behind."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hmu.backbones.trainable import Trainable
from hmu.errors import CheckpointError, ConfigError
from hmu.methods.edit import DeltaEdit, load_edit
from hmu.training.divergence import LOOK, Diverged
from hmu.training.pretraining import PretrainingModule
from hmu.training.resumable import KeepLatest, WholeFiles
from hmu.training.unlearning import run_method
from tests.methods.fake import FakeBackbone, FakeClips
from tests.methods.make import esd, finetune, lora
from tests.training.make import recipe

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def clips() -> tuple[FakeClips, FakeClips]:
    return FakeClips(["kicks"], 5, seed=1), FakeClips(["walks", "waves", "stands"], 24, seed=2)


class Breaking(Trainable):
    """A weight whose loss is no number from one step on; its gradient leaves the weight alone, or ruins it."""

    stages = ("only",)
    prepare = stage_window = None  # type: ignore[assignment]

    def __init__(self, at: int, ruins: bool) -> None:
        super().__init__()
        self.weight, self.at, self.ruins, self.steps = nn.Parameter(torch.ones(2)), at, ruins, 0

    def stage_loss(self, stage, batch, generator=None):
        self.steps += 1
        bad = float("nan") if self.steps >= self.at else 1.0
        return {"loss": self.weight.sum() * bad if self.ruins else self.weight.sum() + (bad - 1.0)}

    def stage_parameters(self, stage):
        return self.parameters()


def fit(model: Breaking, steps: int, tmp_path, every: int = 1000) -> PretrainingModule:
    module = PretrainingModule(model, "only", recipe(steps=steps), steps, where="recipes.backbone.only")
    module.log_dict = module.log = lambda *_, **__: None  # type: ignore[method-assign]
    saver = KeepLatest(tmp_path / "only.ckpt", every)
    trainer = L.Trainer(max_steps=steps, callbacks=[saver], plugins=[WholeFiles()], **QUIET)
    trainer.fit(module, DataLoader([torch.zeros(1)] * steps))
    return module


def test_a_bad_loss_is_found_within_a_few_steps_and_named_by_its_own(tmp_path):
    model = Breaking(at=3, ruins=False)
    with pytest.raises(Diverged, match=r"stage 'only', the loss is not finite at step 3.*recipes.backbone.only.lr"):
        fit(model, 100, tmp_path)
    assert model.steps == LOOK  # not looked at every step, which would wait for the device


def test_a_bad_loss_after_the_last_look_is_found_at_the_end(tmp_path):
    module = fit(Breaking(at=LOOK + 2, ruins=False), LOOK + 3, tmp_path)
    with pytest.raises(Diverged, match=f"step {LOOK + 2}"):
        module.check_losses()


def test_ruined_weights_never_reach_a_checkpoint(tmp_path):
    with pytest.raises(Diverged, match="the weight 'weight' is not finite at step 6"):
        fit(Breaking(at=5, ruins=True), 50, tmp_path, every=2)
    kept = torch.load(tmp_path / "only.ckpt", weights_only=True)
    assert kept["global_step"] == 4
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


METHODS = {
    "lora": lambda lr: lora(steps=30, batch_size=4, lr=lr, rank=4, stop_retain=None, grad_clip=None),
    "esd": lambda lr: esd(steps=30, batch_size=4, lr=lr, train="all", grad_clip=None),
    "finetune": lambda lr: finetune(steps=30, batch_size=4, lr=lr, grad_clip=None),
}


@pytest.mark.parametrize("name", METHODS)
def test_an_unlearning_that_diverges_names_step_and_key_and_restores_the_base(name):
    backbone = FakeBackbone()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(ConfigError, match=r"diverged: the .* at step \d+, .* lower method.lr \(now 1e\+30\)"):
        run_method(METHODS[name](1e30), backbone, *clips())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_the_last_step_is_checked_too():
    """The loss of the only step is fine; what it leaves behind is not."""
    with pytest.raises(Diverged, match=r"the weight '.*' is not finite at step 1"):
        run_method(finetune(steps=1, batch_size=4, lr=1e30, weight_decay=1e30), FakeBackbone(), *clips())


def test_numbers_that_the_optimiser_cannot_hold_are_said_too():
    with pytest.raises(ConfigError, match="lower lr or weight_decay"):
        run_method(finetune(steps=1, batch_size=4, lr=1e300), FakeBackbone(), *clips())


def test_edits_that_are_no_numbers_are_neither_written_nor_read(tmp_path):
    good = DeltaEdit({"w": torch.ones(3)}, method="mine")
    good.save(tmp_path / "edit")
    with pytest.raises(CheckpointError, match="'w' holds NaN or infinite"):
        DeltaEdit({"w": torch.tensor([1.0, float("nan")])}, method="mine").save(tmp_path / "edit")
    assert torch.equal(load_edit(tmp_path / "edit").tensors["w"], torch.ones(3))  # the old one is still there
    with pytest.raises(CheckpointError, match="'w' holds NaN or infinite"):
        DeltaEdit({"w": torch.tensor([1e6])}).save(tmp_path / "half", dtype=torch.float16)
    assert not (tmp_path / "half").exists()
    bad = DeltaEdit({"w": torch.tensor([float("inf")])})
    from hmu.methods import edit_files

    edit_files.write(tmp_path / "bad", bad.tensors, bad.meta, {})
    with pytest.raises(CheckpointError, match="bad: 'w' holds NaN or infinite"):
        load_edit(tmp_path / "bad")


def test_two_trainings_in_one_process_leave_no_trace_in_each_other():
    backbone = FakeBackbone()
    method = METHODS["lora"](1e-3)
    alone = run_method(METHODS["lora"](1e-3), FakeBackbone(), *clips(), seed=3).tensors
    run_method(METHODS["esd"](1e-2), backbone, *clips(), seed=1)
    run_method(method, backbone, *clips(), seed=2)
    after = run_method(method, backbone, *clips(), seed=3).tensors
    assert all(torch.equal(after[name], alone[name]) for name in alone)
