"""Our own model folders of token models: ``config.json`` and ``weights.safetensors`` (half precision allowed)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.momask.files import EMA, fill
from hmu.backbones.momask.options import require
from hmu.backbones.salad.prompts import storable
from hmu.checkpoints.safe import load_safetensors, save_safetensors, write_json
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
DTYPES = ("float32", "float16")
RECOMPUTED = ("position_enc.pe",)  # tables that construction fills in
EXACT = "statistics."  # never in half precision
Parts = Mapping[str, nn.Module | None]


def text_to_config(text: TextEncoder | None) -> dict[str, Any] | None:
    """How to build a text encoder that is stored with a model anew; None for one that is not (CLIP)."""
    if text is None or not storable(text):
        return None
    return {"_target_": f"{type(text).__module__}.{type(text).__qualname__}", **text.to_config()}  # type: ignore[operator]


def text_from_config(config: Mapping[str, Any]) -> TextEncoder:
    """Inverse of :func:`text_to_config`; weights are fresh.

    Raises:
        CheckpointError: for a class from outside this package.
    """
    options = dict(config)
    module, _, kind = str(options.pop("_target_")).rpartition(".")
    if not module.startswith("hmu."):
        raise CheckpointError(f"stored text encoder '{module}.{kind}' is not part of hmu: refused")
    return getattr(importlib.import_module(module), kind)(**options)


def write_folder(folder: Path | str, family: str, config: Mapping[str, Any], parts: Parts, dtype: str) -> Path:
    """Write a model folder, file by file atomically.

    With ``float16`` the running averages of the codebooks are left out; training on derives them from the codes.

    Raises:
        ConfigError: for another ``dtype``.
    """
    require(dtype in DTYPES, f"dtype={dtype}: expected one of {', '.join(DTYPES)}")
    folder, stored = Path(folder), dict[str, Tensor]()
    skip = RECOMPUTED if dtype == "float32" else (*RECOMPUTED, *EMA)
    for part, module in parts.items():
        for name, value in ({} if module is None else module.state_dict()).items():
            full = f"{part}.{name}"
            if not full.endswith(skip):
                convert = value.is_floating_point() and not full.startswith(EXACT)
                stored[full] = value.to(getattr(torch, dtype)) if convert else value
    save_safetensors(folder / WEIGHTS, stored, {"family": family})
    write_json(folder / CONFIG, {"family": family, **config})
    return folder


def read_config(folder: Path | str, family: str) -> dict[str, Any]:
    """``config.json`` of a model folder, without its family.

    Raises:
        CheckpointError: missing, broken, or of another family (which is named).
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config.pop("family")
    except OSError as error:
        raise CheckpointError(
            f"{folder}: no {CONFIG}; give a model folder of ours, or the authors' folder with opt.txt and model/"
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: broken, or not a model's; copy the folder again") from error
    if found != family:
        raise CheckpointError(f"{path}: holds a '{found}' model, expected '{family}'; choose backbone={found}")
    return config


def fill_parts(folder: Path, parts: Parts) -> None:
    """Load the weights of a model folder into ``parts``, in their own precision.

    Raises:
        CheckpointError: broken file, or names and shapes that do not fit ``config.json``.
    """
    path = folder / WEIGHTS
    stored = load_safetensors(path)
    for part, module in parts.items():
        if module is None:
            continue
        own = module.state_dict()
        state = {n.removeprefix(f"{part}."): v for n, v in stored.items() if n.startswith(f"{part}.")}
        state = {n: v.to(own[n].dtype) if n in own else v for n, v in state.items()}
        fill(module, state, path, (*RECOMPUTED, *EMA))
