"""One LightningModule that trains any stage of a backbone or an evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hmu.backbones.trainable import Trainable
from hmu.data.batch import MotionBatch
from hmu.errors import CheckpointError, ConfigError
from hmu.training.divergence import LOOK, Diverged
from hmu.training.recipe import Recipe
from hmu.training.resumable import noise_state, of_all_processes, set_noise_state
from hmu.training.trainer import adamw

NOISE = "hmu_noise"  # where a checkpoint holds the states of the sources of random numbers, by process


class PretrainingModule(L.LightningModule):
    """Trains one stage of ``model`` from scratch or from given weights.

    Args:
        model: a backbone or evaluator; stage: one of its ``stages``.
        total_steps: length of the training, for the learning-rate schedule.
        seed: of the noise.
        where: how the user names the recipe, for messages.
        prompts: all captions of the training clips; a backbone may encode them before the first step.

    Raises:
        ConfigError: the recipe clips by parts and the model names none; :class:`~hmu.training.divergence.Diverged`
            while training.
    """

    def __init__(
        self,
        model: Trainable,
        stage: str,
        recipe: Recipe,
        total_steps: int,
        seed: int = 0,
        where: str = "recipe",
        prompts: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if recipe.clip_parts and type(model).clip_gradients is Trainable.clip_gradients:
            raise ConfigError(
                f"recipe of stage '{stage}': clip_parts=true, but {type(model).__name__} has no parts: set it to false"
            )
        self.model = model
        self.stage = stage
        self.recipe = recipe
        self.total_steps = total_steps
        self.seed, self.where, self.prompts = seed, where, prompts
        self._generator: torch.Generator | None = None
        self._first_bad: Tensor | None = None  # step, infinite where there is none; on the device, so that nobody waits
        self._resumed: list[dict[str, Any]] | None = None

    @property
    def generator(self) -> torch.Generator:
        """Noise source on the right device; every rank draws its own."""
        if self._generator is None or self._generator.device != self.device:
            self._generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + self.global_rank)
        return self._generator

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """One step of the stage's published objective, a scalar."""
        terms = self.model.stage_loss(self.stage, batch, self.generator)
        self._note(terms["loss"].detach(), self.global_step + 1)
        self.log_dict({f"train/{k}": v.detach() for k, v in terms.items()}, batch_size=len(batch), prog_bar=False)
        self.log("loss", terms["loss"].detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return terms["loss"]

    def _note(self, loss: Tensor, step: int) -> None:
        """Remember the first step whose loss is not finite, without waiting for the device."""
        bad = torch.where(torch.isfinite(loss), torch.inf, float(step)).float()
        self._first_bad = bad if self._first_bad is None else torch.minimum(self._first_bad, bad)

    def on_train_batch_end(self, *_: Any) -> None:
        """Look now and then whether the loss is still a number."""
        if self.global_step % LOOK == 0:
            self.check_losses()

    def check_losses(self) -> None:
        """Stop when the loss of any step, in any process, was not finite.

        Raises:
            Diverged: with the first such step.
        """
        step = torch.tensor(torch.inf) if self._first_bad is None else self._first_bad
        first = float(step if self.trainer.world_size == 1 else torch.as_tensor(self.all_gather(step)).min())
        if first != float("inf"):
            raise self.diverged("the loss", int(first))

    def diverged(self, what: str, step: int | None = None) -> Diverged:
        """The error that says so; it was at this step unless another is given."""
        step = self.global_step if step is None else step
        return Diverged(f"stage '{self.stage}', {what}", step, f"{self.where}.lr", self.recipe.lr)

    # -- going on after an interruption --------------------------------------------------------------------------------
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Every process's noise travels with the weights."""
        own = noise_state(self.generator, self.device)
        checkpoint[NOISE] = of_all_processes(own, self.trainer.world_size)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the noise where it was, once everything is set up.

        Raises:
            CheckpointError: another number of processes, or another kind of device.
        """
        states = checkpoint[NOISE]
        if len(states) != self.trainer.world_size:
            raise CheckpointError(
                f"resume: that training ran in {len(states)} processes, this one runs in {self.trainer.world_size}: "
                "give the same trainer.devices"
            )
        self._resumed = states

    def on_train_start(self) -> None:
        """The noise of a resumed training goes on; nothing draws from it between here and the first step."""
        self.model.remember_prompts(self.prompts)
        if self._resumed is None:
            return
        state = self._resumed[self.global_rank]
        if state["device"] != self.device.type:
            raise CheckpointError(
                f"resume: that training ran on {state['device']}, this one runs on {self.device.type}, whose noise "
                "differs: give the same trainer.accelerator"
            )
        set_noise_state(state, self.generator, self.device)
        self._resumed = None

    def validation_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """The same objective on validation clips, with the same noise at every validation."""
        generator = torch.Generator(self.device).manual_seed(self.seed + 17 * batch_idx)
        terms = self.model.stage_loss(self.stage, batch, generator)
        self.log_dict({f"val/{k}": v for k, v in terms.items()}, batch_size=len(batch), sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW under the recipe's warm-up and decay."""
        return adamw(self.model.stage_parameters(self.stage), self.recipe, self.total_steps)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """All gradients together, or (``clip_parts``) part by part as the model says."""
        if self.recipe.clip_parts and gradient_clip_val is not None:
            self.model.clip_gradients(self.stage, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Our typed batches know how to move themselves."""
        if isinstance(batch, MotionBatch):
            return batch.to(device)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)
