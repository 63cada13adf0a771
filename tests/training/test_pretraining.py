"""The module that trains stages: how it clips gradients."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hmu.backbones.trainable import Trainable
from hmu.errors import ConfigError
from hmu.training.pretraining import PretrainingModule
from hmu.training.recipe import Recipe
from tests.training.make import recipe


class Two(Trainable):
    """Two weights with gradients 300 and 400 whose norms are noted before every optimiser step."""

    stages = ("only",)
    prepare = stage_window = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def stage_loss(self, stage, batch, generator=None):
        return {"loss": 300 * self.a.sum() + 400 * self.b.sum()}

    def stage_parameters(self, stage):
        return self.parameters()


class Parts(Two):
    def clip_gradients(self, stage, largest):
        assert stage == "only"
        for part in (self.a, self.b):
            nn.utils.clip_grad_norm_([part], largest)


class Noting(PretrainingModule):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        optimizer.step(closure=optimizer_closure)
        self.norms = [float(p.grad.norm()) for p in self.model.parameters()]


def norms_after_a_step(model: nn.Module, numbers: Recipe) -> list[float]:
    module = Noting(model, "only", numbers, 1)
    module.log_dict = module.log = lambda *_, **__: None  # type: ignore[method-assign]
    trainer = L.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=numbers.grad_clip,
    )  # fmt: skip
    trainer.fit(module, DataLoader([torch.zeros(1)]))
    return module.norms


def test_all_gradients_together_or_part_by_part():
    together = norms_after_a_step(Parts(), recipe(steps=1, grad_clip=0.5))
    assert together == pytest.approx([0.3, 0.4], rel=1e-4)
    apart = norms_after_a_step(Parts(), recipe(steps=1, grad_clip=0.5, clip_parts=True))
    assert apart == pytest.approx([0.5, 0.5], rel=1e-4)
    free = norms_after_a_step(Parts(), recipe(steps=1, clip_parts=True))
    assert free == pytest.approx([300, 400])


def test_parts_of_a_model_without_parts_are_refused():
    with pytest.raises(ConfigError, match="clip_parts=true, but Two has no parts"):
        PretrainingModule(Two(), "only", recipe(steps=1, grad_clip=0.5, clip_parts=True), 1)
