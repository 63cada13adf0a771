"""What a job was composed of: the options of the configuration groups that it, or the run it measures, has chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


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
    chosen = _mapping(home / ".hydra" / "hydra.yaml").get("hydra", {}).get("runtime", {}).get("choices", {})
    method = next((m for p in (path / "edit", path) if (m := _mapping(p / "edit.json").get("method"))), None)
    return ({"method": str(method)} if method else {}) | {str(k): str(v) for k, v in chosen.items() if v is not None}


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping; empty where there is none that can be read."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
