"""Which process this is: its rank, the group that torchrun has started, and the one time stamp of them all."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hmu.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{6}")
_TORCHRUN = "TORCHELASTIC_RUN_ID"


# -- by the environment: before, and without, torch -------------------------------------------------------------------
def rank() -> int:
    """This process's rank as torchrun, Lightning or SLURM tell it through the environment; 0 when alone."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def started() -> int:
    """How many processes torchrun or Lightning have started; 1 when alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def run_stamp() -> str:
    """Time stamp that names the run folder, the same in every process of a distributed run.

    Lightning's child processes inherit it through the environment. Processes started by torchrun share only their
    parent, so the first of them to create a small file decides and the others read it.
    """
    if "HMU_RUN_STAMP" not in os.environ:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S") + f"-{time.time_ns() // 1000 % 1000000:06d}"
        os.environ["HMU_RUN_STAMP"] = agree_on(stamp) if os.environ.get(_TORCHRUN) else stamp
    return os.environ["HMU_RUN_STAMP"]


def agree_on(stamp: str) -> str:
    """``stamp``, or the one that the first process of the group has left in a folder of the user's own.

    The temporary folder belongs to everybody: its name could be taken, or lead elsewhere, before we come.

    Raises:
        ConfigError: it does.
    """
    facts = (str(os.getppid()), *(os.environ.get(name, "0") for name in ("MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")))
    path = _private_folder() / re.sub(r"[^0-9-]", "_", "-".join(facts))
    own = path.with_name(f"{path.name}.{os.getpid()}")
    own.unlink(missing_ok=True)
    with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(stamp)
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
    agreed = path.read_text(encoding="utf-8")
    if not _STAMP.fullmatch(agreed):  # it becomes the name of a folder
        raise ConfigError(f"'{path}' holds no time stamp: remove it and start again")
    return agreed


def _private_folder() -> Path:
    """A folder below the temporary one that this user made, and that nobody else can write to.

    Raises:
        ConfigError: something else has its name.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0  # Windows: the temporary folder is the user's own
    path = Path(tempfile.gettempdir()) / f"hmu-{user}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    facts = path.lstat()
    others = hasattr(os, "getuid") and (facts.st_uid != user or facts.st_mode & 0o077)
    if not stat.S_ISDIR(facts.st_mode) or others:
        raise ConfigError(f"'{path}' is no private folder of yours: remove it, or set TMPDIR to a folder of your own")
    return path


# -- by the group -----------------------------------------------------------------------------------------------------
def group() -> tuple[int, int]:
    """This process's rank in the group that it has joined, and the size of the group; ``(0, 1)`` when alone."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def join() -> None:
    """Join the group that torchrun has started, if it has; each process takes the GPU of its local rank.

    What they exchange (motions, on the CPU) goes through gloo, which every build has.
    """
    import torch

    if _TORCHRUN not in os.environ or started() < 2:
        return
    if not torch.distributed.is_available() or torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.distributed.init_process_group("gloo")


def leave() -> None:
    """End distributed work: what follows (saving, measuring) runs in the first process alone."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def everywhere(value: Tensor | None) -> Tensor | None:
    """``value`` (any shape), if every process has one: all of them must then do the same next."""
    import torch

    if group()[1] > 1:
        least = torch.tensor(int(value is not None))
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        return value if int(least) else None
    return value
