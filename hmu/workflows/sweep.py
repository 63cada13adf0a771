"""One table per sweep: a Hydra callback that collects what the runs of a multirun have measured."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from hmu.errors import DataError

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """Writes ``sweep.csv``, ``sweep.md`` and ``sweep.html`` into the sweep's folder when its last run has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra; runs that failed or were interrupted are listed as such."""
        from hmu.evaluation.aggregate_write import write_sweep  # heavy

        folder = Path(config.hydra.sweep.dir)
        if not folder.is_dir():
            return
        try:
            write_sweep(folder)
        except DataError as error:  # a sweep of train.py
            log.info("no table: %s", error)
