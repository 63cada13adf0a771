"""Checkpoints of a training: whole or not there at all, and with everything that the next step depends on."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO

from hmu.checkpoints.safe import first_nonfinite, load_tensors
from hmu.documents import write_bytes

SUFFIX = ".ckpt"


class WholeFiles(CheckpointIO):
    """Writes beside the file and renames, so that a kill leaves the old checkpoint or the new one, on any file system.

    (Lightning writes into the system's temporary folder first; on another file system moving it is a copy.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint``; a CheckpointError (the disk is full) leaves the old file untouched."""
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        write_bytes(Path(path), stream.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and plain values, on the CPU; nothing in the file is executed."""
        return load_tensors(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


class KeepLatest(Checkpoint):
    """Saves the state of the training every so many steps over the one before, unless it has diverged.

    The last step is left out: the model itself is saved then.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self._at = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Save, if it is time."""
        step = trainer.global_step
        if step % self.every or step == self._at or step >= trainer.max_steps:
            return
        self._at = step
        trainer.save_checkpoint(self.path, weights_only=False)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse weights and averages that are no numbers (this callback comes last: it sees what will be written)."""
        for key in ("state_dict", "current_model_state"):
            bad = first_nonfinite(checkpoint.get(key) or {})
            if bad is not None:
                raise pl_module.diverged(f"the weight '{bad.removeprefix('model.')}'")  # type: ignore[operator]


def noise_state(generator: torch.Generator, device: torch.device) -> dict[str, Any]:
    """States of all sources of random numbers of this process, as tensors and plain values."""
    kind, numbers, *rest = np.random.get_state(legacy=True)
    assert isinstance(numbers, np.ndarray)
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "training": generator.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": (str(kind), torch.from_numpy(numbers.astype(np.int64)), *rest),
        "python": random.getstate(),
    }


def set_noise_state(state: dict[str, Any], generator: torch.Generator, device: torch.device) -> None:
    """Put every source of random numbers into a state of :func:`noise_state`."""
    generator.set_state(state["training"].cpu())
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    kind, numbers, *rest = state["numpy"]
    np.random.set_state((kind, numbers.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def of_all_processes(state: dict[str, Any], world: int) -> list[dict[str, Any]]:
    """The states of every process by rank; called in all of them."""
    if world == 1:
        return [state]
    states: list[Any] = [None] * world
    torch.distributed.all_gather_object(states, state)
    return states
