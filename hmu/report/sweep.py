"""One table per sweep, whatever became of its jobs: a Hydra callback, and what is said at the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from hmu import folders
from hmu.console import begin_sweep
from hmu.errors import ConfigError, DataError

log = logging.getLogger(__name__)
_running: Path | None = None  # the folder of the sweep that this process runs
_refused: list[str] = []  # what is wrong with jobs whose folder holds somebody else's run, so that it is noted nowhere


class SweepTable(Callback):
    """Writes ``sweep.csv``, ``sweep.md`` and ``sweep.html`` into the sweep's folder when its last run has ended."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before the first job."""
        folder = Path(config.hydra.sweep.dir).absolute()
        begin(folder, lambda: _refuse_foreign(folder))
        begin_sweep(config.hydra.overrides.task)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra; runs that failed or were interrupted are listed as such."""
        table(Path(config.hydra.sweep.dir))


def _refuse_foreign(folder: Path) -> None:
    """Raise :class:`ConfigError` for a folder that holds anything but an earlier sweep."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file: a sweep needs a folder; choose another hydra.sweep.dir")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "multirun.yaml").is_file():
        raise ConfigError(
            f"'{folder}' is not empty: a sweep needs a folder of its own; choose another hydra.sweep.dir, "
            "nothing was changed"
        )


def begin(folder: Path, check: Callable[[], None]) -> None:
    """A sweep into ``folder`` begins, unless ``check`` refuses it; how its jobs ended is looked at in the end."""
    global _running
    try:
        check()
    except ConfigError as error:  # Hydra would only warn of it, and go on
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    _running = folder.absolute()


def abandon() -> None:
    """The sweep was refused before its first job: what Hydra has noted of it goes."""
    global _running
    folder, _running = _running, None
    if folder is not None and folder.is_dir() and [path.name for path in folder.iterdir()] == ["multirun.yaml"]:
        (folder / "multirun.yaml").unlink()
        folder.rmdir()


def table(folder: Path | None = None) -> None:
    """Write the table of ``folder``, else of the running sweep, with the jobs that there are; nothing outside one."""
    folder = folder or _running
    if folder is None or not folder.is_dir():
        return
    from hmu.report.comparison_files import write_sweep  # heavy

    try:
        write_sweep(folder)
    except DataError as error:  # a sweep of train.py
        log.info("no table: %s", error)


def refused(problem: str) -> None:
    """Note a job of this process's sweep that may not say in its folder what is wrong."""
    _refused.append(problem)


def problems() -> str | None:
    """How many jobs of this process's sweep failed and where that is listed, in one line; None if none did."""
    global _running
    folder, _running = _running, None
    if folder is None or not folder.is_dir():
        return None
    read = [folders.read(job) for job in sorted(folder.iterdir()) if job.is_dir()]
    records = [record for record in read if record]  # a report beside the jobs is none
    failed = [str(record.get("problem")) for record in records if record.get("status") == "failed"] + _refused
    _refused.clear()
    if not failed:
        return None
    others = ", the others are done" if len(failed) < len(records) else ""
    return f"{len(failed)} of {len(records)} jobs failed{others}; see {folder}: {failed[0]}"
