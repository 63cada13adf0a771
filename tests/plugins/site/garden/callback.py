"""A Lightning callback: leaves a note of how many steps there were."""

from __future__ import annotations

from pathlib import Path

import lightning as L


class Note(L.Callback):
    """Args: file: where to write."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the number of steps."""
        Path(self.file).write_text(f"{trainer.global_step} steps\n", encoding="utf-8")
