"""The run record: what makes a run folder self-sufficient."""

from __future__ import annotations

import logging
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu import folders
from hmu.build import RECEIVED, check_plain
from hmu.documents import read_json, read_yaml
from hmu.errors import CheckpointError, shown
from hmu.moved import renamed
from hmu.overrides import running
from hmu.processes import rank
from hmu.tree import is_group

log = logging.getLogger(__name__)
_PACKAGES = (
    "torch", "lightning", "hydra-core", "torchmetrics", "peft", "diffusers", "transformers", "numpy", "safetensors",
)  # fmt: skip
_CONFIG_LIMIT = 1 << 19  # bytes; a recorded configuration has some 20 KB


class RunRecord:
    """``run.json`` of a run folder: versions, git, device, hashes, seeds, timings, peak memory, lineage.

    Written when the run starts (``status: running``) and again at the end, so that an interrupted run can be told. Of
    several processes only the first writes.
    """

    def __init__(self, folder: Path, config: DictConfig) -> None:
        self.folder, self.writes = folder, rank() == 0
        self.data: dict[str, Any] = {
            "schema": 1,
            "status": "running",
            **folders.whose(),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {name: _version(name) for name in ("hmu", *_PACKAGES)} | {"python": platform.python_version()},
            "git": _git(),
            "platform": platform.platform(),
            "seed": OmegaConf.select(config, "seed"),
            "timings": {},
        }
        self._clock = time.perf_counter()
        if self.writes:
            OmegaConf.save(config, folder / "config.yaml", resolve=True)
        self._save()

    def stage(self, name: str) -> None:
        """Note the seconds since the previous stage under ``name``."""
        now = time.perf_counter()
        self.data["timings"][name] = round(now - self._clock, 3)
        self._clock = now
        self._save()

    def note(self, **facts: Any) -> None:
        """Add facts (hashes, device, lineage ...)."""
        self.data.update(facts)
        self._save()

    def finish(self) -> None:
        """Mark the run as complete."""
        self.note(status="complete", finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"), peak_memory_mb=peak_memory())

    def _save(self) -> None:
        if self.writes:
            folders.write(self.folder, self.data)


def load_config(folder: Path) -> DictConfig:
    """The resolved configuration of a run folder, to be looked at: :func:`hmu.build.instantiate` refuses its nodes.

    Somebody else may have written it: what is built from it goes through :func:`hmu.build.check_received` first.

    Raises:
        CheckpointError: when the folder is not one of ours, or its file is no plain configuration.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise CheckpointError(
            f"'{folder}' is not a run folder: it has no config.yaml; give a folder written by train.py or unlearn.py"
        )
    content = read_yaml(path, CheckpointError, limit=_CONFIG_LIMIT)
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path}' is not a configuration")
    content = renamed(content)
    check_plain(content, path)
    for key, value in content.items():
        if value is not None and not isinstance(value, dict) and is_group(str(key)):
            raise CheckpointError(f"'{path}' is not a configuration: '{key}' is {shown(value)}, expected a mapping")
    try:
        return OmegaConf.create(content, flags={RECEIVED: True})
    except OmegaConfBaseException as error:  # keys or values that a configuration cannot hold
        raise CheckpointError(f"'{path}' is not a configuration ({shown(error, 120)})") from error


def read_record(home: Path) -> dict[str, Any]:
    """``run.json`` of a run folder; a damaged one is refused."""
    path = home / "run.json"
    record = read_json(path, CheckpointError)
    if not isinstance(record, dict):
        raise CheckpointError(f"'{path}' is no record of a run; train that run again")
    return record


def peak_memory() -> float | None:
    """Peak resident memory of this process in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[1]

    def said(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"commit": said("rev-parse", "HEAD"), "dirty": bool(said("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def continued_folder(composed: DictConfig, config: DictConfig) -> Path:
    """The run folder; one whose run was killed is taken up again if it is asked to do exactly the same (``config``).

    Raises:
        ConfigError: the folder holds a finished run, one that is running, or one with another configuration.
    """
    folder = Path(running().runtime.output_dir)
    if rank() == 0 and _was_killed(folder, config):
        log.info("continuing the run in %s; what it has generated is not generated again", folder)
        return folders.take_up(folder)
    return folders.run_folder(composed)


def _was_killed(folder: Path, config: DictConfig) -> bool:
    record = folders.read(folder)
    if record.get("status") not in ("running", "interrupted", "failed") or not (folder / "config.yaml").is_file():
        return False
    asked = OmegaConf.to_container(config, resolve=True)
    return not folders.runs_now(record) and OmegaConf.to_container(load_config(folder), resolve=True) == asked
