"""``train.py resume=<run folder>``: what of an interrupted training can be taken up, and whether it is the same one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from hmu.checkpoints.safe import load_tensors
from hmu.documents import walk
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.run import load_config, read_record
from hmu.training.pretraining import NOISE
from hmu.training.resumable import SUFFIX
from hmu.workflows.settling import CACHES, completed, relocation, settle_concept

#: top-level keys that say where and how a run is shown, not what is trained
FREE = {"resume", "paths", "logger", "threads", "hydra", "debug", "trust", "run_name", "subject", "without_evaluator"}
#: keys of the trainer that change no number
SHOWN = {"enable_progress_bar", "enable_model_summary", "profiler", "log_every_n_steps", "enable_checkpointing"}


@dataclass(frozen=True)
class Interrupted:
    """An interrupted training.

    Attributes:
        folder: its run folder; timings: seconds of the stages that it has finished, by ``train_<stage>``.
        data: fingerprint of the data set that it has read; None where that was not recorded.
    """

    folder: Path
    timings: dict[str, float]
    data: str | None

    @property
    def model(self) -> Path | None:
        """The model with all finished stages; None if no stage is finished."""
        return self.folder / "model" if self.timings else None

    def finished(self, stage: str) -> bool:
        """Whether nothing of ``stage`` is left to do."""
        return f"train_{stage}" in self.timings

    def checkpoint(self, stage: str) -> Path | None:
        """The last state of ``stage`` that was saved; None if it has to begin anew."""
        path = self.folder / "checkpoints" / f"{stage}{SUFFIX}"
        return path if path.is_file() else None


def interrupted(config: DictConfig) -> Interrupted | None:
    """The run that ``config.resume`` names, None without one.

    Refused are a folder that is no run, one that is complete or has saved nothing yet, and another configuration.
    """
    if config.resume is None:
        return None
    folder = Path(str(config.resume))
    if not folder.is_dir():
        raise CheckpointError(
            f"resume: '{config.resume}' is not a folder; give the run folder of the interrupted train.py"
        )
    ran, record = load_config(folder), read_record(folder)
    if ran.get("job") != "train":
        raise CheckpointError(f"resume: '{folder}' is no run of train.py (job: {shown(ran.get('job'))})")
    if record.get("status") == "complete":
        raise CheckpointError(
            f"resume: '{folder}' is complete, nothing is left to do; to train on from its weights give init={folder}"
        )
    _check_same(config, ran, folder)
    timings = {str(k): float(v) for k, v in (record.get("timings") or {}).items() if str(k).startswith("train_")}
    if not timings and not any((folder / "checkpoints").glob(f"*{SUFFIX}")):
        raise CheckpointError(
            f"resume: '{folder}' was interrupted before its first checkpoint: train anew, without resume="
        )
    return Interrupted(folder, timings, record.get("data"))


def _check_same(config: DictConfig, ran: DictConfig, folder: Path) -> None:
    plain: Any = OmegaConf.to_container(settle_concept(ran), resolve=True)
    recorded = relocation(ran, config, {"paths.root"})(plain)
    theirs = _leaves({group: completed(config, str(group), node, folder) for group, node in recorded.items()})
    ours = _leaves(OmegaConf.to_container(config, resolve=True))
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        if not _decides(key, config) or ours.get(key) == theirs.get(key):
            continue
        was, now = (_said(values, key) for values in (theirs, ours))
        raise ConfigError(
            f"resume: '{folder}' was trained with {key}={was}, this command has {now}: give the same command, or "
            "begin with its weights (init=)"
        )


def _said(values: Mapping[str, Any], key: str) -> str:
    return "nothing" if key not in values else "null" if values[key] is None else shown(values[key])


def _decides(key: str, config: DictConfig) -> bool:
    """Whether a key decides about the weights that come out."""
    top, _, rest = key.partition(".")
    if top in FREE or (top == "trainer" and rest.split(".")[0] in SHOWN):
        return False
    if top == "concept":
        return bool(config.partition != "all")
    return not key.endswith(CACHES)


def _leaves(node: Any) -> dict[str, Any]:
    """Every plain value by its dotted key; empty lists and mappings too."""
    return {".".join(path): value for path, value in walk(node) if not (isinstance(value, (dict, list)) and value)}


def check_data(run: Interrupted, fingerprint: str, name: str) -> None:
    """Refuse a data set whose files have changed since."""
    if run.data is not None and run.data != fingerprint:
        raise CheckpointError(
            f"resume: '{run.folder}' was trained on other files of dataset '{name}' (their fingerprint differs): "
            "train anew, without resume="
        )


def take_over(run: Interrupted, folder: Path) -> None:
    """Copy the finished stages' model and the checkpoints into the new run folder, which can then be resumed itself."""
    for name in ("checkpoints", "model"):
        if (run.folder / name).is_dir() and (name == "checkpoints" or run.model is not None):
            ignored = shutil.ignore_patterns("*.tmp")
            shutil.copytree(run.folder / name, folder / name, dirs_exist_ok=True, ignore=ignored)


def check_state(path: Path, module: nn.Module, total: int) -> int:
    """The step that a checkpoint was saved at."""
    stored = load_tensors(path)
    state, step = stored.get("state_dict"), stored.get("global_step")
    if not isinstance(state, Mapping) or not isinstance(step, int) or NOISE not in stored:
        raise CheckpointError(
            f"resume: {path} does not hold the whole state of a training (an older version wrote none): train anew"
        )
    theirs, ours = (
        {name: getattr(value, "shape", ()) for name, value in d.items()} for d in (state, module.state_dict())
    )
    unlike = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if unlike or not 0 < step < total:
        why = f"'{unlike[0]}' differs in size or is missing" if unlike else f"it is at step {step} of {total}"
        raise CheckpointError(f"resume: {path} is of another model or training ({why}); give the same command")
    return step
