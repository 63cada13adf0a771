"""The settings of TMR in somebody's files, each with its type and range: forks write anything."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.checkpoints.kinds import Choice, Kind, Real, Text, Whole, check_values
from hmu.documents import read_json, read_yaml
from hmu.errors import CheckpointError, shown
from hmu.evaluators.tmr.objectives import WEIGHTS

log = logging.getLogger(__name__)
PARTS = ("motion_encoder", "text_encoder", "motion_decoder")
#: where a run directory keeps its settings, the first that is there
CONFIGS = ("config.json", "config.yaml", ".hydra/config.yaml")
#: of a network: the authors' names -> ours
_PART: dict[str, tuple[str, Kind]] = {
    "ff_size": ("ff", Whole(1, 65_536)),
    "num_layers": ("layers", Whole(1, 99)),
    "num_heads": ("heads", Whole(1, 256)),
    "dropout": ("dropout", Real(0, 1)),
    "activation": ("activation", Choice(("gelu", "relu"))),
}
_TEMPERATURE, _THRESHOLD, _WEIGHT, _NAME = Real(1e-6, 1e6), Real(0, 1), Real(0, 1e6), Text()


def run_config(run: Path) -> tuple[dict[str, Any], Path]:
    """The settings of a run directory, and the file that holds them.

    Raises:
        CheckpointError: there is none, or it is broken or no mapping.
    """
    path = next((run / name for name in CONFIGS if (run / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{run / CONFIGS[0]}: no such file, expected a folder of TMR (theirs or ours)")
    content = (read_json if path.suffix == ".json" else read_yaml)(path, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {shown(content)}, expected the run's settings (a mapping)")
    return content, path


def named(config: Mapping[str, Any], path: Path | str, *keys: str) -> str | None:
    """The text at ``keys`` (``data``, ``motion_loader`` …), None where a level or the text is missing or null.

    Raises:
        CheckpointError: something else is there.
    """
    node: Any = config
    for level, key in enumerate(keys):
        if not isinstance(node, Mapping):
            raise CheckpointError(f"{path}: {'.'.join(keys[:level])}={shown(node)}, expected a mapping")
        node = node.get(key)
        if node is None:
            return None
    return str(_fitting(node, _NAME, path, ".".join(keys)))


def authors_settings(config: Mapping[str, Any], path: Path | str = "config.json") -> dict[str, dict[str, Any]]:
    """Per network the settings in our names; what is missing or null keeps its default.

    Raises:
        CheckpointError: a value of another type or out of range.
    """
    model = _mapping(config, "model", path)
    stated: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        given = _mapping(model, part, path, "model.")
        stated[part] = {
            ours: _fitting(given[key], kind, path, f"model.{part}.{key}")
            for key, (ours, kind) in _PART.items()
            if given.get(key) is not None
        }
    return {part: settings for part, settings in stated.items() if part in model}


def our_settings(settings: Any, path: Path, key: str = "parts") -> dict[str, dict[str, Any]]:
    """As :func:`authors_settings`, from a model folder of ours, whose names are ours; ``key`` is where they stand.

    Raises:
        CheckpointError: a value of another type or out of range, or an unknown one.
    """
    kinds = dict(_PART.values())
    stated: dict[str, dict[str, Any]] = {}
    given = _mapping({key: settings}, key, path)
    for part in PARTS:
        values = _mapping(given, part, path, f"{key}.")
        unknown = sorted(set(map(str, values)) - set(kinds))
        if unknown:
            raise CheckpointError(f"{path}: {key}.{part} holds the unknown '{shown(unknown[0])}'; copy it again")
        stated[part] = check_values(values, f"{path}: {key}.{part}.", kinds, CheckpointError)
    return stated


def authors_objective(config: Mapping[str, Any], path: Path | str = "config.json") -> dict[str, Any]:
    """Temperature, threshold and weights of the training objective, where they are stated.

    Terms that are not known here are left out with a warning: only further training would need them.

    Raises:
        CheckpointError: a value of another type or out of range.
    """
    model = _mapping(config, "model", path)
    objective: dict[str, Any] = {}
    if model.get("temperature") is not None:
        objective["temperature"] = _fitting(model["temperature"], _TEMPERATURE, path, "model.temperature")
    if "threshold_selfsim" in model:  # null turns the filter off
        threshold = model["threshold_selfsim"]
        given = None if threshold is None else _fitting(threshold, _THRESHOLD, path, "model.threshold_selfsim")
        objective["threshold"] = given
    weights = _mapping(model, "lmd", path, "model.")
    foreign = [key for key in weights if key not in WEIGHTS]
    if foreign:
        listed = shown(", ".join(map(str, foreign)))
        log.warning("%s: terms of a loss that are not known here: %s; training on goes without", path, listed)
    if weights:
        known = {key: value for key, value in weights.items() if key in WEIGHTS and value is not None}
        objective["weights"] = {key: _fitting(value, _WEIGHT, path, f"model.lmd.{key}") for key, value in known.items()}
    return objective


def widths(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """What the encoders' tensors say: ``features``, ``width``, ``text_width`` and ``vae``.

    Raises:
        CheckpointError: they are not TMR's; ``source`` names the file.
    """
    try:
        width, features = tensors["motion_encoder.projection.weight"].shape
        text_width = tensors["text_encoder.projection.weight"].shape[1]
        vae = len(tensors["motion_encoder.tokens"]) > 1
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{source}: not TMR's networks: {type(error).__name__} {shown(error, 120)}") from error
    return {"features": int(features), "width": int(width), "text_width": int(text_width), "vae": vae}


def _mapping(node: Mapping[str, Any], key: str, path: Path | str, above: str = "") -> Mapping[str, Any]:
    value = node.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{path}: {above}{key}={shown(value)}, expected a mapping")
    return value


def _fitting(value: Any, kind: Kind, path: Path | str, name: str) -> Any:
    try:
        return kind.read(value)
    except ValueError as error:
        raise CheckpointError(f"{path}: {name}={shown(value)}, expected {kind.words}; correct the file") from error
