"""Sweeps (``-m``) of tools that write into ``out``: one folder below it for each job."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from hmu.errors import ConfigError
from hmu.outputs import NOTHING, Output, check_place, claim_folder
from hmu.overrides import in_sweep, running
from hmu.report import sweep

SWEPT = "multirun.yaml"  # what Hydra leaves in the folder of a sweep


def claim_out(config: DictConfig, tool: str, older: Callable[[Path], Iterable[str]] = lambda folder: ()) -> Output:
    """``out``, or in a sweep the running job's folder below it, by :func:`hmu.outputs.claim_folder`."""
    out = Path(config.out)
    folder = out / str(running().job.num) if in_sweep() else out
    return claim_folder(folder, "out", tool, overwrite=config.overwrite, older=older)


class ClaimSweep(Callback):
    """Looks at ``out`` before Hydra writes into it."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before the first job; ends the program where ``out`` is somebody else's."""
        out = Path(config.out)
        sweep.begin(out, lambda: claim_sweep(out, overwrite=config.overwrite is True))


def claim_sweep(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is not empty, or with ``overwrite`` one that no earlier sweep has made.

    What lies in the jobs' own folders is looked at by each job.
    """
    check_place(out, "out")
    if out.is_file():
        raise ConfigError(f"out={out} is a file, expected a folder")
    if out.is_dir() and any(out.iterdir()) and not (overwrite and (out / SWEPT).is_file()):
        raise ConfigError(
            f"out={out} is not empty: choose another folder, or overwrite=true if it is an earlier sweep's; {NOTHING}"
        )
