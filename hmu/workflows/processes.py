"""Several processes for one evaluation, and runs that were killed and are started again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hmu import folders
from hmu.app import rank, run_folder
from hmu.run import load_config

log = logging.getLogger(__name__)


def join_processes() -> None:
    """Join the group that torchrun has started, if it has; each process takes the GPU of its local rank.

    What they exchange (motions, on the CPU) goes through gloo, which every build has.
    """
    started = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started or not torch.distributed.is_available() or torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.distributed.init_process_group("gloo")


def continued_folder(composed: DictConfig, config: DictConfig) -> Path:
    """The run folder; one whose run was killed is taken up again if it is asked to do exactly the same.

    Args:
        composed: the configuration as Hydra composed it; config: with what the measured run decides.

    Raises:
        ConfigError: the folder holds a finished run, one that is running, or one with another configuration.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if rank() == 0 and _was_killed(folder, config):
        log.info("continuing the run in %s; what it has generated is not generated again", folder)
        return folders.take_up(folder)
    return run_folder(composed)


def _was_killed(folder: Path, config: DictConfig) -> bool:
    record = folders.read(folder)
    if record.get("status") not in ("running", "interrupted", "failed") or not (folder / "config.yaml").is_file():
        return False
    asked = OmegaConf.to_container(config, resolve=True)
    return not folders.runs_now(record) and OmegaConf.to_container(load_config(folder), resolve=True) == asked
