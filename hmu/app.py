"""What every script shares: compose and check the configuration, open a run folder, say errors in one line."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu import console, debug, folders, help, refusals, stopping
from hmu.choices import choice
from hmu.command_line import understood
from hmu.config import check_config
from hmu.console import rank as rank
from hmu.errors import HmuError, shown
from hmu.escaping import terminal_text
from hmu.report import sweep
from hmu.stamp import agree_on
from hmu.values import Keys

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
EXIT_USER_ERROR = 2
_ELSEWHERE = "free space or choose another folder (paths.output=…)"
_FULL = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EFBIG)


def run_stamp() -> str:
    """Time stamp that names the run folder, the same in every process of a distributed run.

    Lightning's child processes inherit it through the environment. Processes started by torchrun share only their
    parent, so the first of them to create a small file decides and the others read it.
    """
    if "HMU_RUN_STAMP" not in os.environ:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S") + f"-{time.time_ns() // 1000 % 1000000:06d}"
        if os.environ.get("TORCHELASTIC_RUN_ID"):
            stamp = agree_on(stamp)
        os.environ["HMU_RUN_STAMP"] = stamp
    return os.environ["HMU_RUN_STAMP"]


def register_resolvers() -> None:
    """Resolvers used in ``configs/``: ``${hmu.stamp:}``, ``${hmu.asset:demo/salad}``, ``${hmu.choice:backbone}``."""
    if not OmegaConf.has_resolver("hmu.stamp"):
        OmegaConf.register_new_resolver("hmu.stamp", run_stamp)
        OmegaConf.register_new_resolver("hmu.asset", asset)
        OmegaConf.register_new_resolver("hmu.choice", lambda group, *, _root_: choice(group, _root_))
        OmegaConf.register_new_resolver("hmu.root", lambda: os.path.abspath(os.environ.get("HMU_ROOT") or os.getcwd()))
        OmegaConf.register_new_resolver("hmu.job", _job_folder)


def _job_folder() -> str:
    """Name of the folder of this job of a sweep."""
    ours = HydraConfig.get()
    return folders.job_name(list(ours.overrides.task), int(ours.job.num))


def asset(name: str) -> str:
    """Path of a file or folder packaged with hmu (small demo weights)."""
    return str(Path(__file__).resolve().parent / "assets" / name)


def main(
    config_name: str, task: Callable[[DictConfig], object], keys: type[Keys] = Keys, *, sweeps: bool = True
) -> None:
    """Run ``task(config)`` under Hydra with the house's habits.

    User mistakes (:class:`HmuError`, Hydra's and OmegaConf's own errors, a full disk) end in one line on stderr
    and exit code 2; bugs keep their stack trace.

    Args:
        config_name: a root file in ``configs/``.
        task: receives the composed, checked configuration. Heavy imports belong inside it.
        keys: declares what the task reads at the top of its configuration. sweeps: whether ``-m`` makes sense.
    """
    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us; we print them in one line
    stopping.listen()
    if _or_fail(lambda: help.show(config_name, sys.argv[1:])):
        return
    _or_fail(debug.announce)

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    def _job(config: DictConfig) -> object:
        # caught here, inside the job: Hydra would print a line of its own about it
        return _sweep_job(config, task, keys) if in_sweep() else _or_fail(lambda: _checked(config, task, keys))

    def _start() -> object:
        sys.argv[1:] = understood(sys.argv[1:], keys, sweeps=sweeps)
        return _job()

    _or_fail(_start)
    if failed := sweep.problems():
        _fail(failed)


def in_sweep() -> bool:
    """Whether the running job is one of a multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _checked(config: DictConfig, task: Callable[[DictConfig], object], keys: type[Keys]) -> object:
    check_config(config, HydraConfig.get().overrides.task, keys)
    debug.cut(config)
    result = console.perform(task, config)
    folders.done()
    return result


def _sweep_job(config: DictConfig, task: Callable[[DictConfig], object], keys: type[Keys]) -> object:
    """One job of a sweep: what is wrong with it costs the others nothing, and its folder says so."""
    stopping.check()
    try:
        return stopping.stoppable(lambda: _checked(config, task, keys))
    except Exception as error:
        problem = _told(error)
        if problem is None:  # a bug: its trace is shown, the sweep goes on
            log.exception("this job failed; the sweep goes on")
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        elif rank() == 0:
            sys.stderr.write(f"error: {problem}\n")
        if rank() == 0:
            ours = HydraConfig.get()
            if not folders.failed(Path(ours.runtime.output_dir), ours, config, problem):
                sweep.refused(problem)
        return None


def _or_fail(job: Callable[[], object]) -> object:
    try:
        return stopping.stoppable(job)
    except Exception as error:
        problem = _told(error)
        folders.end("failed", problem or f"{type(error).__name__}: {' '.join(str(error).split())}", _made())
        sweep.abandon()
        if problem is None:
            raise
        _fail(problem)
    except (stopping.Stopped, KeyboardInterrupt) as stop:
        line, code = (stop.line, stop.code) if isinstance(stop, stopping.Stopped) else ("interrupted", 130)
        folders.end("interrupted", line, _made())
        sweep.table()  # of the jobs that had ended
        if isinstance(stop, stopping.Stopped):
            stop.leave()
        _fail(line, code)


def _made() -> Path | None:
    """The folder that Hydra has made for this run: it bears the run's stamp."""
    if rank() or not HydraConfig.initialized() or in_sweep():
        return None
    runtime: Any = HydraConfig.get().runtime
    folder = runtime.get("output_dir")
    return Path(folder) if folder and Path(folder).name == os.environ.get("HMU_RUN_STAMP") else None


def _told(error: Exception) -> str | None:
    """A user's mistake, or a disk's, in one line; None for a bug."""
    if isinstance(error, (HmuError, HydraException, OmegaConfBaseException)):
        return None if _is_bug(error) else one_line(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        place = f"'{error.filename}'" if error.filename else "a file"
        return f"cannot write {place}: {error.strerror}; {_ELSEWHERE}"
    if isinstance(error, OSError) and error.errno is None and " requested and " in str(error):  # numpy's own words
        return f"cannot write a file: {os.strerror(errno.ENOSPC)} ({error}); {_ELSEWHERE}"
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        return f"'{shown(error.filename, 200)}': a file is where a folder is needed; choose another place"
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:  # the system's, no bug
        return f"'{shown(error.filename, 200)}': {error.strerror}; check that path"
    return None


def _is_bug(error: BaseException) -> bool:
    """An instantiation that failed for a reason that is not the user's keeps its stack trace."""
    return isinstance(error, InstantiationException) and not isinstance(error.__cause__, (HmuError, type(None)))


def one_line(error: BaseException) -> str:
    """An error's message on one line; Hydra's lists of options are kept, its advice on stack traces is not."""
    cause = error.__cause__
    if isinstance(cause, HmuError):
        error = cause
    if words := refusals.told(error):
        return terminal_text(words)
    lines = [line.strip() for line in str(error).split("Config search path:")[0].splitlines()]
    kept = [
        line
        for line in lines
        if line and "HYDRA_FULL_ERROR" not in line and not line.startswith(("full_key:", "object_type="))
    ]
    return terminal_text(" ".join(kept)) or type(error).__name__


def _fail(message: str, code: int = EXIT_USER_ERROR) -> NoReturn:
    if rank() == 0 or "HMU_ALL_RANKS" in os.environ:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


def run_folder(config: DictConfig) -> Path:
    """The folder of the running job (Hydra's output folder), claimed for it; ``config`` as composed is in ``.hydra/``.

    Raises:
        ConfigError: the folder is not empty; nothing in it was changed.
    """
    ours = HydraConfig.get()
    folder = Path(ours.runtime.output_dir)
    if rank() == 0:
        folders.claim(folder)
        folders.save_composed(folder, ours, config)
    return folder
