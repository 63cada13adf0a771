"""What a job was composed of: the options of the configuration groups that it, or the run it measures, has chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hmu.documents import read_json, read_yaml
from hmu.errors import DataError

_LIMIT = 1 << 19  # bytes of a record


def choice(group: str, config: DictConfig) -> str | None:
    """The option of ``group`` (``salad_demo`` of ``backbone``) that a job runs with.

    A job that measures a run (``ckpt``) takes over what that run has chosen, unless its command line chooses.
    None outside a job, and where there is no such group.
    """
    if not HydraConfig.initialized():
        return None
    ours = HydraConfig.get()
    given = {entry.lstrip("+~").split("=")[0] for entry in ours.overrides.task}  # backbone=…, not backbone.text=…
    ckpt = OmegaConf.select(config, "ckpt", throw_on_missing=False)
    theirs = {} if ckpt is None or group in given else chosen_by(Path(str(ckpt)))
    return theirs.get(group) or ours.runtime.choices.get(group)


def chosen_by(path: Path) -> dict[str, str]:
    """Options by group of a run folder, or of the run that holds the folder ``path``; of an edit alone its method."""
    home = path if (path / "config.yaml").is_file() else path.parent
    chosen = recorded_choices(home)
    method = next((m for p in (path / "edit", path) if (m := mapping(p / "edit.json").get("method"))), None)
    return ({"method": str(method)} if method else {}) | chosen


def recorded_choices(home: Path) -> dict[str, str]:
    """Options by group as Hydra has noted them in a run folder; empty where it has not."""
    chosen: Any = mapping(home / ".hydra" / "hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        chosen = chosen.get(key) if isinstance(chosen, dict) else None
    return {str(k): str(v) for k, v in chosen.items() if v is not None} if isinstance(chosen, dict) else {}


def mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping that somebody else may have written; empty where there is none that can be read."""
    try:
        content = (read_json if path.suffix == ".json" else read_yaml)(path, limit=_LIMIT)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}
