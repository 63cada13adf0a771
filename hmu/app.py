"""What every script shares: compose and check the configuration, open a run folder, say errors in one line."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu.choices import choice
from hmu.config import check_config
from hmu.errors import ConfigError, HmuError

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
EXIT_USER_ERROR = 2


def rank() -> int:
    """This process's rank as torchrun, Lightning or SLURM tell it through the environment; 0 when alone."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def run_stamp() -> str:
    """Time stamp that names the run folder, the same in every process of a distributed run.

    Lightning's child processes inherit it through the environment. Processes started by torchrun share only their
    parent, so the first of them to create a small file decides and the others read it.
    """
    if "HMU_RUN_STAMP" not in os.environ:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S") + f"-{time.time_ns() // 1000 % 1000000:06d}"
        if os.environ.get("TORCHELASTIC_RUN_ID"):
            stamp = _agree_on(stamp)
        os.environ["HMU_RUN_STAMP"] = stamp
    return os.environ["HMU_RUN_STAMP"]


def _agree_on(stamp: str) -> str:
    key = "-".join(
        [str(os.getppid()), os.environ.get("MASTER_PORT", "0"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")]
    )
    path = Path(tempfile.gettempdir()) / f"hmu-run-{key}"
    own = path.with_name(f"{path.name}.{os.getpid()}")
    own.write_text(stamp, encoding="utf-8")
    try:
        os.link(own, path)  # atomic, fails when another process was first
    except FileExistsError:
        if time.time() - path.stat().st_mtime > 120:  # left behind by a process id used again
            os.replace(own, path)
    except OSError:  # a file system without hard links
        if not path.exists():
            os.replace(own, path)
    finally:
        own.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


def register_resolvers() -> None:
    """Resolvers used in ``configs/``: ``${hmu.stamp:}``, ``${hmu.asset:demo/salad}``, ``${hmu.choice:backbone}``."""
    if not OmegaConf.has_resolver("hmu.stamp"):
        OmegaConf.register_new_resolver("hmu.stamp", run_stamp)
        OmegaConf.register_new_resolver("hmu.asset", asset)
        OmegaConf.register_new_resolver("hmu.choice", lambda group, *, _root_: choice(group, _root_))


def asset(name: str) -> str:
    """Path of a file or folder packaged with hmu (small demo weights)."""
    return str(Path(__file__).resolve().parent / "assets" / name)


def main(config_name: str, task: Callable[[DictConfig], object]) -> None:
    """Run ``task(config)`` under Hydra with the house's habits.

    User mistakes (:class:`HmuError`, Hydra's and OmegaConf's own errors, a full disk) end in one line on stderr
    and exit code 2; bugs keep their stack trace.

    Args:
        config_name: a root file in ``configs/``.
        task: receives the composed, checked configuration. Heavy imports belong inside it.
    """
    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us; we print them in one line

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    def _job(config: DictConfig) -> object:
        # caught here, inside the job: Hydra would print a line of its own about it
        return _or_fail(lambda: _checked(config, task))

    _or_fail(_job)


def _checked(config: DictConfig, task: Callable[[DictConfig], object]) -> object:
    check_config(config, HydraConfig.get().overrides.task)
    return task(config)


def _or_fail(job: Callable[[], object]) -> object:
    try:
        return job()
    except (HmuError, HydraException, OmegaConfBaseException) as error:
        if _is_bug(error):
            raise
        _fail(one_line(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _fail(
            f"cannot write '{error.filename or 'a file'}': {error.strerror}; "
            "free space or choose another folder (paths.output=…)"
        )
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _is_bug(error: BaseException) -> bool:
    """An instantiation that failed for a reason that is not the user's keeps its stack trace."""
    return isinstance(error, InstantiationException) and not isinstance(error.__cause__, (HmuError, type(None)))


def one_line(error: BaseException) -> str:
    """An error's message on one line; Hydra's lists of options are kept, its advice on stack traces is not."""
    cause = error.__cause__
    if isinstance(cause, HmuError):
        error = cause
    lines = [line.strip() for line in str(error).split("Config search path:")[0].splitlines()]
    kept = [
        line
        for line in lines
        if line and "HYDRA_FULL_ERROR" not in line and not line.startswith(("full_key:", "object_type="))
    ]
    return " ".join(kept) or type(error).__name__


def _fail(message: str, code: int = EXIT_USER_ERROR) -> NoReturn:
    if rank() == 0 or "HMU_ALL_RANKS" in os.environ:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


def run_folder() -> Path:
    """The folder of the running job (Hydra's output folder), created."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").exists() and rank() == 0:
        raise ConfigError(f"'{folder}' already holds a run: choose another hydra.run.dir, nothing was overwritten")
    return folder
