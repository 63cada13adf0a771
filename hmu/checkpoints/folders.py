"""``config.json`` of model folders: plain values that name a family, read the same way for every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmu.documents import read_json
from hmu.errors import CheckpointError, shown

CONFIG = "config.json"
_LIMIT = 16 << 20  # bytes; vocabularies are the largest part


def read_model_config(folder: Path | str, key: str = "family", expected: str | None = None) -> dict[str, Any]:
    """The settings in a model folder's ``config.json``.

    Args:
        folder: the model folder.
        key: what tells whose settings they are: ``family`` of backbones, ``format`` of evaluators.
        expected: what ``key`` has to be; None = anything.

    Raises:
        CheckpointError: missing, broken, no settings, or another's (which is named).
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no {CONFIG}; give a model folder of ours, or the authors' folder with opt.txt and model/"
        )
    config = read_json(path, CheckpointError, limit=_LIMIT)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds {shown(config)}, expected the settings of a model; copy the folder again")
    found = config.get(key)
    if expected is not None and found != expected:
        remedy = f"; choose backbone={shown(found)}" if key == "family" and isinstance(found, str) else ""
        raise CheckpointError(f"{path}: holds a '{shown(found)}' model, expected '{expected}'{remedy}")
    return config
