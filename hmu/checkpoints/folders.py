"""``config.json`` of model folders: plain values that name a family, checked before anything of their size is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors

from hmu.checkpoints.kinds import CHAINS, Kind, check_values, real, whole
from hmu.documents import read_json, walk
from hmu.errors import CheckpointError, shown
from hmu.tree import options

CONFIG = "config.json"
_LIMIT = 16 << 20  # bytes; vocabularies are the largest part
_OLD, _PREFIX = "format", "hmu-evaluator-"  # evaluators stated their family so up to version 0.1


def read_model_config(folder: Path | str, family: str, group: str = "backbone") -> dict[str, Any]:
    """The settings in a model folder's ``config.json``, without its ``family``, which belongs to the ``group``.

    Raises:
        CheckpointError: missing, broken, no settings, or another family's (which is named).
    """
    config = _read(folder)
    stated = config.pop("family", None) or str(config.pop(_OLD, None)).removeprefix(_PREFIX)
    if stated != family:
        remedy = f"{group}={stated}" if str(stated) in options(group) else "another folder"
        raise CheckpointError(
            f"{Path(folder) / CONFIG}: holds a '{shown(stated)}' model, expected '{family}'; choose {remedy}"
        )
    return config


def family_of(folder: Path | str) -> str:
    """The family that a model folder states; CheckpointError where it states none."""
    config = _read(folder)
    stated = config.get("family") or str(config.get(_OLD, "")).removeprefix(_PREFIX)
    if not isinstance(stated, str) or not stated:
        raise CheckpointError(f"{Path(folder) / CONFIG}: states no family; expected a model folder of ours")
    return stated


def _read(folder: Path | str) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        inner = Path(folder) / "model"
        remedy = "a model folder of ours, or the authors' folder with opt.txt and model/"
        if (inner / CONFIG).is_file():
            remedy = f"{inner}, the model of this run"
        raise CheckpointError(f"{folder}: no {CONFIG}; give {remedy}")
    config = read_json(path, CheckpointError, limit=_LIMIT)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds {shown(config)}, expected the settings of a model; copy the folder again")
    return config


#: widths: no tensor is larger than the largest one of the file
_WIDTHS = {
    "buckets", "classes", "code_dim", "codes", "features", "ff", "ff_dim", "ff_size", "hidden", "kernel_size",
    "latent_dim", "max_tokens", "motion_hidden", "movement_hidden", "movement_latent", "text_hidden", "text_width",
    "time_features", "width", "word",
}  # fmt: skip
#: lists of words: each word has a row in one of its tensors
_LISTS = {"vocabulary", "words"}
#: numbers of layers: each has a tensor at least
_COUNTS = {"depth", "down", "layers", "n_extra_layers", "n_layers", "quantizers"}
_FRAMES, _SIZE = whole(1, 100_000), whole(1, 65_536)
#: settings of a model beside those of its parts
_MODEL: dict[str, Kind] = {
    "features": whole(1, 4096), "fps": real(1, 1000), "text_width": whole(1, 65_536), "min_frames": _FRAMES,
    "max_frames": _FRAMES, "feat_bias": real(0, 1e6), "latent_scale": real(0, 1e6), "chains": CHAINS,
    "samples": whole(0, 2**53), "width": _SIZE, "word": _SIZE, "text_hidden": _SIZE, "motion_hidden": _SIZE,
    "movement_hidden": _SIZE, "movement_latent": _SIZE, "ff": _SIZE, "layers": whole(1, 999), "heads": whole(1, 256),
}  # fmt: skip
_MAY_BE_NULL = {"text_width", "latent_scale", "chains"}


def check_model(config: Mapping[str, Any], path: Path, weights: Path) -> None:
    """Refuse settings (of ``path``) of another type, and sizes that ``weights`` cannot have; only its header is read.

    Raises:
        CheckpointError: naming the file, the setting and what was expected.
    """
    shapes = _shapes(weights)
    if not shapes:
        return
    largest = max((size for shape in shapes for size in shape), default=0)
    for place, value in walk(config):
        key = next((key for key in reversed(place) if not key.isdigit()), "")  # of a list, the key that holds it
        most = largest if key in _WIDTHS else len(shapes) if key in _COUNTS else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key in _LISTS and isinstance(value, list) and len(value) > largest:
            raise CheckpointError(
                f"{path}: {key} lists {len(value)} words, but its weights hold at most {largest}; copy both again"
            )
        if most is not None and number and value > most:
            raise CheckpointError(f"{path}: {key}={shown(value)}, but its weights hold at most {most}; copy both again")
    given = {key: value for key, value in config.items() if value is not None or key not in _MAY_BE_NULL}
    check_values(given, f"{path}: ", _MODEL, CheckpointError)


def _shapes(path: Path) -> list[list[int]]:
    """Shapes of the tensors of a safetensors file; none where it cannot be read, which loading it will say."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            return [list(stream.get_slice(name).get_shape()) for name in stream.keys()]  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError):
        return []
