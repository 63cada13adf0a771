"""The settings of TMR in somebody's files, each with its type and range: forks write anything.

What does not fit is a :class:`CheckpointError` that names file, setting, value and what was expected.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.checkpoints.kinds import TABLE, Kind, check_values, choice, real, whole
from hmu.documents import read_json, read_yaml
from hmu.errors import CheckpointError, shown
from hmu.evaluators.tmr.objectives import WEIGHTS

log = logging.getLogger(__name__)
PARTS = ("motion_encoder", "text_encoder", "motion_decoder")
#: where a run directory keeps its settings, the first that is there
CONFIGS = ("config.json", "config.yaml", ".hydra/config.yaml")
#: of a network: the authors' names -> ours
_PART: dict[str, tuple[str, Kind]] = {
    "ff_size": ("ff", whole(1, 65_536)),
    "num_layers": ("layers", whole(1, 99)),
    "num_heads": ("heads", whole(1, 256)),
    "dropout": ("dropout", real(0, 1)),
    "activation": ("activation", choice(("gelu", "relu"))),
}


def run_config(run: Path) -> tuple[dict[str, Any], Path]:
    """The settings of a run directory, and the file that holds them."""
    path = next((run / name for name in CONFIGS if (run / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{run / CONFIGS[0]}: no such file, expected a folder of TMR (theirs or ours)")
    content = (read_json if path.suffix == ".json" else read_yaml)(path, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {shown(content)}, expected the run's settings (a mapping)")
    return content, path


def stated(config: Mapping[str, Any], path: Path | str, name: str, kind: Kind) -> Any:
    """The value at a dotted ``name`` (``data.motion_loader``); None where a level or the value is missing or null.

    Raises:
        CheckpointError: something else is there.
    """
    node: Any = config
    keys = name.split(".")
    for level, key in enumerate(keys):
        if not isinstance(node, Mapping):
            raise CheckpointError(f"{path}: {'.'.join(keys[:level])}={shown(node)}, expected a mapping")
        node = node.get(key)
        if node is None:
            return None
    try:
        return kind.read(node)
    except ValueError as error:
        raise CheckpointError(f"{path}: {name}={shown(node)}, expected {kind.words}; correct the file") from error


def authors_settings(config: Mapping[str, Any], path: Path | str = "config.json") -> dict[str, dict[str, Any]]:
    """Per network the settings in our names; what is missing or null keeps its default."""
    settings: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        read = {ours: stated(config, path, f"model.{part}.{key}", kind) for key, (ours, kind) in _PART.items()}
        settings[part] = {name: value for name, value in read.items() if value is not None}
    return {part: values for part, values in settings.items() if values}


def our_settings(settings: Any, path: Path, key: str = "parts") -> dict[str, dict[str, Any]]:
    """As :func:`authors_settings`, from a model folder of ours, whose names are ours; ``key`` is where they stand."""
    kinds = dict(_PART.values())
    checked: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        values = stated({key: settings}, path, f"{key}.{part}", TABLE) or {}
        unknown = sorted(set(map(str, values)) - set(kinds))
        if unknown:
            raise CheckpointError(f"{path}: {key}.{part} holds the unknown '{shown(unknown[0])}'; copy it again")
        checked[part] = check_values(values, f"{path}: {key}.{part}.", kinds, CheckpointError)
    return checked


def authors_objective(config: Mapping[str, Any], path: Path | str = "config.json") -> dict[str, Any]:
    """Temperature, threshold and weights of the training objective, where they are stated.

    Terms that are not known here are left out with a warning: only further training would need them.
    """
    objective: dict[str, Any] = {}
    if (temperature := stated(config, path, "model.temperature", real(1e-6, 1e6))) is not None:
        objective["temperature"] = temperature
    threshold = stated(config, path, "model.threshold_selfsim", real(0, 1))
    if "threshold_selfsim" in (config.get("model") or {}):  # null turns the filter off
        objective["threshold"] = threshold
    terms = stated(config, path, "model.lmd", TABLE) or {}
    if foreign := [str(term) for term in terms if term not in WEIGHTS]:
        listed = shown(", ".join(foreign))
        log.warning("%s: terms of a loss that are not known here: %s; training on goes without", path, listed)
    weights = {term: stated(config, path, f"model.lmd.{term}", real(0, 1e6)) for term in WEIGHTS}
    if terms:
        objective["weights"] = {term: weight for term, weight in weights.items() if weight is not None}
    return objective


def widths(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes of the encoders' tensors say: ``features``, ``width``, ``text_width`` and ``vae``."""
    width, features = tensors["motion_encoder.projection.weight"].shape
    text_width = tensors["text_encoder.projection.weight"].shape[1]
    vae = len(tensors["motion_encoder.tokens"]) > 1
    return {"features": int(features), "width": int(width), "text_width": int(text_width), "vae": vae}
