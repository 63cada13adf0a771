"""What a job prints: our own lines in words, those of libraries only if they are of use, each of them once.

``configs/hydra/job_logging/`` names the handler and the formatter; :func:`perform` does the rest while a job runs.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from hmu import folders, progress
from hmu.durations import Seconds, exact
from hmu.overrides import in_sweep, parsed, running, split, typed
from hmu.processes import rank

log = logging.getLogger(__name__)

#: libraries that tell about themselves at the level of information: advertisements, devices, fonts, found packages
TALKATIVE = (
    "HYDRA", "PIL", "diffusers", "filelock", "fsspec", "git", "huggingface_hub", "hydra", "lightning", "matplotlib",
    "numexpr", "peft", "pytorch_lightning", "torch", "torchmetrics", "transformers", "urllib3", "wandb",
)  # fmt: skip
#: warnings that concern whoever maintains the code, not whoever runs it
FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
#: by package: what we do on purpose and it warns about
INTENDED = {
    "lightning": re.compile(
        "overridden `transfer_batch_to_device`|`srun` command is available|does not have many workers"
        "|(Checkpoint|Experiment logs) directory .* exists and is not empty|GPU available but not used"
        "|number of training batches .* is smaller than the logging interval"
    ),
    "torch": re.compile("lr_scheduler.step\\(\\)` before `optimizer.step|enable_nested_tensor is True"),
}
_swept: set[str] = set()
SILENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


class Words(logging.Formatter):
    """A record for a person: its message, after the time of day if ``datefmt`` is given, and ``warning:`` if it is one.

    Debug records (``hydra.verbose=true``) say where they come from.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING and not text.lower().startswith(("warning", "error")):
            text = f"{'error' if record.levelno >= logging.ERROR else 'warning'}: {text}"
        if record.levelno < logging.INFO:
            text = f"[{record.name}] {text}"
        if self.datefmt:
            text = f"{time.strftime(self.datefmt, time.localtime(record.created))} {text}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class Once(logging.Filter):
    """Lets every message through once per job (debug records always); several handlers may share it."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the first of its kind, the same answer for every handler."""
        if record.levelno < logging.INFO:
            return True
        facts = vars(record)
        if "first" not in facts:
            said = record.levelno, record.getMessage()
            facts["first"] = said not in self._said
            self._said.add(said)
        return bool(facts["first"])


class Console(logging.StreamHandler[TextIO]):
    """Standard output: above the bar, without the talk of libraries, and from one process only."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._owner = os.getpid()

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is shown; everything is in the log file of the run folder."""
        if rank() and record.levelno < logging.ERROR:
            return False
        everything = logging.getLogger().level <= logging.DEBUG  # hydra.verbose=true
        if record.levelno == logging.INFO and record.name.split(".")[0] in TALKATIVE and not everything:
            return False
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; the bar makes way."""
        if os.getpid() != self._owner:  # a worker: the bar and its lock belong to the parent
            super().emit(record)
            return
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class LogFile(logging.FileHandler):
    """The log of a run folder, opened when the run has claimed the folder; what only a screen needs is left out.

    Args:
        filename: of the log.
    """

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", delay=True)
        self._early: deque[logging.LogRecord] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; one that comes before the folder is the run's own waits: it may be somebody else's."""
        self._early.append(record)
        while self._early and folders.claimed(Path(self.baseFilename).parent):
            super().emit(self._early.popleft())

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is written."""
        return not vars(record).get("screen") and super().filter(record)


def perform(task: Callable[[DictConfig], object], config: DictConfig) -> object:
    """Do ``task(config)`` as a job: phases are shown, warnings said in words, and at the end where to look.

    Of a task that returns its run folder the last line names the page or the folder.
    """
    began = time.perf_counter()
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    cache = OmegaConf.select(config, "paths.cache")
    memory = Seconds(None if cache is None or rank() else Path(str(cache)))
    number = int(running().job.num) if in_sweep() else None
    with warnings.catch_warnings(), progress.job(memory, number, silent=rank() > 0) as job:
        warnings.showwarning = say
        adopt()
        if job.place:  # the run has no folder yet
            log.info("%s: %s", job.place, " ".join(_own_overrides()), extra={"screen": True})
        result = task(config)
    if isinstance(result, Path):
        page = result / "report.html"
        log.info("done in %s: %s", exact(time.perf_counter() - began), near(page if page.is_file() else result))
    return result


def near(path: Path) -> str:
    """A path as one would type it here: relative to the current folder if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def say(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """A warning of :mod:`warnings` as one line of the log: who says it and what, without code."""
    package = _package(filename)
    text = " ".join(str(message).split())
    if package == "hmu":
        log.warning("%s", text)
        return
    noise = issubclass(category, FOR_DEVELOPERS) or category.__name__ == "PossibleUserWarning"
    noise = noise or (package in INTENDED and INTENDED[package].search(text) is not None)
    log.log(logging.DEBUG if noise else logging.WARNING, "%s", f"{package}: {text}" if package else text)


def adopt(*libraries: str) -> None:
    """Records of libraries go the way of ours: a handler of their own would say everything twice.

    Called again after an import that has added one.
    """
    for name in libraries or ("lightning", "lightning.pytorch", "lightning.fabric", "transformers", "diffusers"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _package(filename: str) -> str:
    """The package that a source file belongs to; empty for a script."""
    parts = Path(filename).parts
    for home in ("site-packages", "dist-packages"):
        if home in parts:
            return parts[parts.index(home) + 1].removesuffix(".py")
    return "hmu" if str(filename).startswith(str(Path(__file__).parent)) else ""


def begin_sweep(overrides: Sequence[str]) -> None:
    """A multirun begins: how many jobs it has, and which keys differ between them.

    Of choices that only Hydra can count (``glob``) and of other sweepers the number of jobs is unknown.
    """
    global _swept
    swept = [override for override in parsed(overrides) if override.is_sweep_override()]
    _swept = {str(override.key_or_group) for override in swept}
    try:
        total = math.prod(sum(1 for _ in override.sweep_string_iterator()) for override in swept)
    except HydraException:
        total = 0
    progress.sweep(total)


def _own_overrides() -> list[str]:
    """Of the running job of a sweep, the overrides that tell it from the others."""
    return [word for word in typed() if split(word)[0].split("@")[0] in _swept] or typed()
