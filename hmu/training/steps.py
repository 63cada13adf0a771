"""Counts the steps of a Lightning trainer in a phase of the job."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from hmu.phases import Phase
from hmu.progress import shown

NOTED = 1.0  # seconds between two looks at the loss: reading it waits for the device


class Steps(Callback):
    """Keeps ``phase`` at the trainer's step, and shows the loss once a second where there is a bar.

    Args:
        phase: of as many units as the training has steps.
    """

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
