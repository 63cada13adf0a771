"""Run folders: one run claims one folder for itself, and the folder says how the run ended."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmu.documents import write_json
from hmu.errors import ConfigError
from hmu.overrides import mapping, running, split
from hmu.processes import rank
from hmu.tree import is_group

RECORD = "run.json"
COMPOSED = ".hydra"
LONGEST = 80  # characters of a sweep job's folder name
_claimed: Path | None = None  # by the running job


def claim(folder: Path) -> Path:
    """Take ``folder`` for the running job: it must be empty or new. Of two jobs that ask at once one gets it.

    Raises:
        ConfigError: it holds a run or anything else; nothing in it was changed.
    """
    if claimed(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if not _abandoned(folder):
        _refuse_foreign(folder)
    try:
        handle = os.open(folder / RECORD, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        raise _holds_a_run(folder) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"status": "starting", **whose()}, file)
    return take_up(folder)


def claimed(folder: Path) -> bool:
    """Whether the running job has claimed this folder."""
    return _claimed == folder


def take_up(folder: Path) -> Path:
    """Go on in a folder that is the job's own: new, or of a run that was killed."""
    global _claimed
    _claimed = folder
    return folder


def _refuse_foreign(folder: Path) -> None:
    names = sorted(entry.name for entry in folder.iterdir())
    if RECORD in names:
        raise _holds_a_run(folder)
    if names:
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        raise ConfigError(
            f"'{folder}' is not empty ({shown}): a run needs a folder of its own; choose another hydra.run.dir, "
            "nothing was changed"
        )


def end(status: str, problem: str, fresh: Path | None = None) -> None:
    """The job did not end well: its record says how, or nothing of it stays where it had not begun.

    ``fresh``: the folder that was made for the job, which it need not have claimed yet.
    """
    folder, own = _claimed or fresh, _claimed is not None
    done()
    if folder is None or (not own and (folder / RECORD).exists()):  # another process has claimed it
        return
    record = read(folder)
    if own and record.get("status") != "starting":
        write(folder, {**record, "status": status, "problem": problem})
        return
    (folder / RECORD).unlink(missing_ok=True)
    for path in (*(folder / COMPOSED).glob("*.yaml"), *folder.glob("*.log")):
        with suppress(OSError):  # Windows keeps a log that is still open
            path.unlink()
    for empty in (folder / COMPOSED, folder):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def failed(config: DictConfig, problem: str) -> bool:
    """Say in the running sweep job's folder why it failed, even before it had begun; others' folders are left alone.

    Returns:
        whether it was said.
    """
    folder = Path(running().runtime.output_dir)
    try:
        claim(folder)
    except ConfigError:
        return False
    if not (folder / COMPOSED).is_dir():
        save_composed(folder, config)
    record = read(folder)
    seed = record.get("seed", OmegaConf.select(config, "seed"))
    write(folder, {**record, "seed": seed, "status": "failed", "problem": problem})
    done()
    return True


def run_folder(config: DictConfig) -> Path:
    """The folder of the running job (Hydra's output folder), claimed for it; ``config`` as composed is in ``.hydra/``.

    Raises:
        ConfigError: the folder is not empty; nothing in it was changed.
    """
    folder = Path(running().runtime.output_dir)
    if rank() == 0:
        claim(folder)
        save_composed(folder, config)
    return folder


def save_composed(folder: Path, config: DictConfig) -> None:
    """What Hydra composed, in the files that Hydra itself would write; it does so before anybody has looked."""
    ours = running()
    (folder / COMPOSED).mkdir(exist_ok=True)
    for name, node in (("config", config), ("hydra", {"hydra": ours}), ("overrides", ours.overrides.task)):
        OmegaConf.save(OmegaConf.create(node), folder / COMPOSED / f"{name}.yaml")


def done() -> None:
    """The job has ended; its record says how."""
    global _claimed
    _claimed = None


def read(folder: Path) -> dict[str, Any]:
    """The record of a run folder; empty where there is none that can be read."""
    return mapping(folder / RECORD)


def write(folder: Path, record: dict[str, Any]) -> None:
    """Replace the record."""
    write_json(folder / RECORD, record)


def whose() -> dict[str, Any]:
    """The process that runs the job, so that a dead one can be told."""
    return {"host": platform.node(), "process": os.getpid()}


def runs_now(record: dict[str, Any]) -> bool:
    """Whether the process that wrote ``record`` is alive, as far as that can be told: on this machine."""
    process = record.get("process")
    if record.get("host") != platform.node() or not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user: alive
        return True
    return True


def job_name(overrides: Sequence[str], number: int) -> str:
    """The folder of a sweep's job: its number and what is readable of its overrides.

    ``003-lora-kick-rank_8``: letters, digits, ``.``, ``_`` and ``-``, as ``ckpt=`` and ``edits=`` take them, and never
    too long for a disk. The number alone makes it unique.
    """
    parts = []
    for key, value in map(split, overrides):
        key, value = key.split("@")[0], re.sub(r"[^A-Za-z0-9.]+", "_", Path(value).name).strip("_.")
        parts.append(value if is_group(key) else f"{key.rpartition('.')[2]}_{value}")
    name = "-".join(part for part in parts if part)
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9].rstrip('-_.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{number:03d}-{name}" if name else f"{number:03d}"


def _abandoned(folder: Path) -> bool:
    """Whether all that the folder holds is the claim of a job that died before it wrote anything; removes it then."""
    names = {entry.name for entry in folder.iterdir() if entry.suffix != ".log"}  # the job's own
    record = read(folder)
    if RECORD not in names or names - {RECORD, COMPOSED} or record.get("status") != "starting" or runs_now(record):
        return False
    dead = folder / f".{RECORD}.{os.getpid()}.dead"
    try:
        os.rename(folder / RECORD, dead)
    except OSError:  # another job was faster
        return False
    dead.unlink()
    return True


def _holds_a_run(folder: Path) -> ConfigError:
    record = read(folder)
    if runs_now(record) and record.get("status") in ("starting", "running"):
        return ConfigError(
            f"'{folder}' is in use by a run of process {record['process']}: choose another hydra.run.dir, or wait"
        )
    return ConfigError(f"'{folder}' already holds a run: choose another hydra.run.dir, nothing was overwritten")
