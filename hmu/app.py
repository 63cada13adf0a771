"""What every script and tool shares: compose and check the configuration, do the task, say errors in one line."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from hmu import console, debug, folders, help, stopping
from hmu.command_line import understood
from hmu.compose import register_resolvers
from hmu.config import CONFIGS, check_config
from hmu.overrides import in_sweep, running, typed
from hmu.processes import rank
from hmu.refusals import one_line
from hmu.report import sweep
from hmu.values import Keys

log = logging.getLogger(__name__)

EXIT_USER_ERROR = 2
Task = Callable[[DictConfig], object]


def main(config_name: str, task: Task, keys: type[Keys] = Keys, *, sweeps: bool = True) -> None:
    """Run ``task(config)`` under Hydra with the house's habits.

    User mistakes (:class:`~hmu.errors.HmuError`, Hydra's and OmegaConf's own errors, a full disk) end in one line on
    stderr and exit code 2; bugs keep their stack trace. ``task`` does the heavy imports; ``keys`` declares what it
    reads, ``sweeps`` whether ``-m`` makes sense.
    """
    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us; we print them in one line
    stopping.listen()

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    def job(config: DictConfig) -> object:
        # caught here, inside the job: Hydra would print a line of its own about it
        return _sweep_job(config, task, keys) if in_sweep() else _or_fail(lambda: _checked(config, task, keys))

    def start() -> object:
        if help.show(config_name, sys.argv[1:]):
            return None
        debug.announce()
        sys.argv[1:] = understood(sys.argv[1:], keys, sweeps=sweeps)
        return job()

    _or_fail(start)
    if failed := sweep.problems():
        _fail(failed)


def _checked(config: DictConfig, task: Task, keys: type[Keys]) -> object:
    check_config(config, typed(), keys)
    debug.cut(config)
    result = console.perform(task, config)
    folders.done()
    return result


def _sweep_job(config: DictConfig, task: Task, keys: type[Keys]) -> object:
    """One job of a sweep: what is wrong with it costs the others nothing, and its folder says so."""
    stopping.check()
    try:
        return stopping.stoppable(lambda: _checked(config, task, keys))
    except Exception as error:
        problem = one_line(error)
        if problem is None:  # a bug: its trace is shown, the sweep goes on
            log.exception("this job failed; the sweep goes on")
            problem = _bug(error)
        elif rank() == 0:
            sys.stderr.write(f"error: {problem}\n")
        if rank() == 0 and not folders.failed(config, problem):
            sweep.refused(problem)
        return None


def _or_fail(job: Callable[[], object]) -> object:
    try:
        return stopping.stoppable(job)
    except Exception as error:
        problem = one_line(error)
        folders.end("failed", problem or _bug(error), _own_folder())
        sweep.abandon()
        if problem is None:
            raise
        _fail(problem)
    except (stopping.Stopped, KeyboardInterrupt) as stop:
        stopped = stop if isinstance(stop, stopping.Stopped) else stopping.Stopped(signal.SIGINT)
        folders.end("interrupted", stopped.line, _own_folder())
        with contextlib.suppress(Exception):  # torch, if the signal has cut its import in half, stays half
            sweep.table()  # of the jobs that had ended
        if stop is stopped:
            stopped.leave()
        _fail(stopped.line, stopped.code)


def _bug(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _own_folder() -> Path | None:
    """The folder that Hydra has made for this run: it bears the run's stamp."""
    ours = running()
    if rank() or ours is None or in_sweep():
        return None
    folder = Path(ours.runtime.get("output_dir") or "")
    return folder if folder.name == os.environ.get("HMU_RUN_STAMP") else None


def _fail(message: str, code: int = EXIT_USER_ERROR) -> NoReturn:
    if rank() == 0 or "HMU_ALL_RANKS" in os.environ:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)
