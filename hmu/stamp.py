"""One time stamp for all processes that torchrun starts: they share nothing but their parent and a folder."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from hmu.errors import ConfigError

_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{6}")


def agree_on(stamp: str) -> str:
    """``stamp``, or the one that the first process of the group has left in a folder of the user's own.

    The temporary folder belongs to everybody: its name could be taken, or lead elsewhere, before we come.

    Raises:
        ConfigError: it does.
    """
    key = "-".join(
        [str(os.getppid()), os.environ.get("MASTER_PORT", "0"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")]
    )
    path = _private_folder() / re.sub(r"[^0-9-]", "_", key)
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
    found = path.lstat()
    others = hasattr(os, "getuid") and (found.st_uid != user or found.st_mode & 0o077)
    if not stat.S_ISDIR(found.st_mode) or others:
        raise ConfigError(f"'{path}' is no private folder of yours: remove it, or set TMPDIR to a folder of your own")
    return path
