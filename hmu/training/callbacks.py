"""Lightning callbacks for trainings whose steps matter and whose epochs do not."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch import callbacks

from hmu.checks import require
from hmu.errors import ConfigError
from hmu.phases import Phase
from hmu.progress import shown
from hmu.values import Count, Whole

NOTED = 1.0  # seconds between two looks at the loss: reading it waits for the device


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's early stopping, which looks every so many *steps*: an unlearning is one epoch without validation.

    Args:
        monitor: what must get better: ``train/loss`` or another logged term.
        every: steps between two looks; patience: looks without improvement before it stops.
        options: of Lightning's callback (``min_delta``, ``mode``, ``stopping_threshold`` ...).
    """

    def __init__(self, monitor: str, every: int, patience: int, **options: Any) -> None:
        require("callbacks.early_stopping.every", every, Count)
        require("callbacks.early_stopping.patience", patience, Whole)
        super().__init__(monitor=monitor, patience=patience, **options)
        self.every = every

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Nothing: neither the end of an epoch nor of a validation is looked at."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Look, if it is time.

        Raises:
            ConfigError: nothing of that name is logged.
        """
        if trainer.global_step % self.every:
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(map(str, trainer.callback_metrics)))
            raise ConfigError(f"callbacks.early_stopping.monitor={self.monitor}: there are {known}")
        self._run_early_stopping_check(trainer)


class Steps(callbacks.Callback):
    """Keeps ``phase``, which counts steps, at the trainer's; shows the loss once a second where there is a bar."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self._noted = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Steps of a resumed training were done before."""
        self.phase.skip(trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See :class:`lightning.pytorch.callbacks.Callback`."""
        self.phase.advance(trainer.global_step - self.phase.done)
        if shown() and time.monotonic() - self._noted >= NOTED:
            self._noted = time.monotonic()
            loss = trainer.callback_metrics.get("loss")
            self.phase.note = "" if loss is None else f"loss {float(loss):.3g}"

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say why the steps stand still."""
        self.phase.note = "validating"
