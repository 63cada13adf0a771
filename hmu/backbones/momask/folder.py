"""Our own model folders of token models: ``config.json`` and ``weights.safetensors`` (half precision allowed)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.momask.files import EMA, fill
from hmu.backbones.momask.options import require
from hmu.checkpoints.folders import CONFIG, read_model_config
from hmu.checkpoints.safe import load_safetensors, save_safetensors, write_json

WEIGHTS = "weights.safetensors"
DTYPES = ("float32", "float16")
RECOMPUTED = ("position_enc.pe",)  # tables that construction fills in
EXACT = "statistics."  # never in half precision
Parts = Mapping[str, nn.Module | None]


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
    return read_model_config(folder, family)


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
