"""Adapter files of GaitDynamics' authors, and which of their adapters act."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from hmu.backbones.gaitdynamics.authors import LAYER, UNUSED, normaliser_of, read_top, tensors_of
from hmu.errors import CheckpointError
from hmu.gait.normaliser import MinMax


def read_adapter(path: Path | str) -> tuple[dict[str, tuple[Tensor, Tensor]], MinMax | None]:
    """``{linear layer: (A, B)}`` by the authors' names, ``(rank, in)`` and ``(out, rank)``, and the normaliser.

    The file tells neither alpha (the authors keep it in ``config.json`` beside it) nor, but by its shapes, the rank.

    Raises:
        CheckpointError: as :func:`read_checkpoint`, or an incomplete pair.
    """
    path = Path(path)
    content = read_top(path, {"lora_state_dict": "adapter weights", "normalizer": "ranges of the columns"})
    if "lora_state_dict" not in content:
        raise CheckpointError(f"{path}: 'lora_state_dict' is missing, expected an adapter file of GaitDynamics")
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors_of(path, "lora_state_dict", content["lora_state_dict"]).items():
        layer, dot, leaf = name.removesuffix(".weight").rpartition(".")
        if not dot or leaf not in ("lora_A", "lora_B") or value.dim() != 2:
            raise CheckpointError(f"{path}: '{name}' is no adapter weight, expected <layer>.lora_A.weight or lora_B")
        pairs.setdefault(layer, {})[leaf] = value
    for layer, pair in pairs.items():
        if len(pair) != 2 or pair["lora_A"].shape[0] != pair["lora_B"].shape[1]:
            raise CheckpointError(f"{path}: the adapter of '{layer}' is not a pair of matrices that fit each other")
    normaliser = normaliser_of(path, content["normalizer"]) if "normalizer" in content else None
    return {layer: (pair["lora_A"], pair["lora_B"]) for layer, pair in pairs.items()}, normaliser


def published_modules(layers: int) -> list[str]:
    """The linear layers on which the authors' injection puts adapters, in its order.

    The two attention entries of every layer never act: torch's attention reads the weight and skips the adapter, and
    the second block is not run at all.
    """
    per_layer = ("self_attn.out_proj", f"{UNUSED}.out_proj", "linear1", "linear2")
    inner = [f"{LAYER}{index}.{name}" for index in range(layers) for name in per_layer]
    return ["input_projection", *inner, "final_layer"]


def acting(modules: list[str]) -> list[str]:
    """Those of :func:`published_modules` whose adapter reaches the output."""
    return [name for name in modules if not name.endswith(".out_proj")]
