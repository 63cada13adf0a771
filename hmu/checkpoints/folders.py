"""``config.json`` of model folders: plain values that name a family, read the same way for every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmu.documents import read_json
from hmu.errors import CheckpointError, shown

CONFIG = "config.json"
_LIMIT = 16 << 20  # bytes; vocabularies are the largest part
_OLD, _PREFIX = "format", "hmu-evaluator-"  # evaluators stated their family so up to version 0.1


def read_model_config(folder: Path | str, family: str, group: str = "backbone") -> dict[str, Any]:
    """The settings in a model folder's ``config.json``, without its family.

    Args:
        folder: the model folder.
        family: what it has to hold. group: the configuration group of that family, for the message.

    Raises:
        CheckpointError: missing, broken, no settings, or another family's (which is named).
    """
    config = _read(folder)
    stated = config.pop("family", None) or str(config.pop(_OLD, None)).removeprefix(_PREFIX)
    if stated != family:
        remedy = f"; choose {group}={shown(stated)}" if isinstance(stated, str) and stated != "None" else ""
        raise CheckpointError(f"{Path(folder) / CONFIG}: holds a '{shown(stated)}' model, expected '{family}'{remedy}")
    return config


def family_of(folder: Path | str) -> str:
    """The family that a model folder states.

    Raises:
        CheckpointError: missing or broken settings, or settings that state none.
    """
    config = _read(folder)
    stated = config.get("family") or str(config.get(_OLD, "")).removeprefix(_PREFIX)
    if not isinstance(stated, str) or not stated:
        raise CheckpointError(f"{Path(folder) / CONFIG}: states no family; expected a model folder of ours")
    return stated


def _read(folder: Path | str) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no {CONFIG}; give a model folder of ours, or the authors' folder with opt.txt and model/"
        )
    config = read_json(path, CheckpointError, limit=_LIMIT)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds {shown(config)}, expected the settings of a model; copy the folder again")
    return config
