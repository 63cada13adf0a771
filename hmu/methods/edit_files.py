"""Edits on disk: safetensors beside an ``edit.json`` with its checksum; adapters in PEFT's layout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from hmu import documents
from hmu.errors import CheckpointError, shown

EDIT = "edit.json"
DELTAS = "deltas.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTERS = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."
_VARIANTS = ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern")
_FILE_OF_KIND = {"delta": DELTAS, "adapter": ADAPTERS}


def write(folder: Path, tensors: dict[str, Tensor], meta: dict[str, Any], extra: dict[str, dict[str, Any]]) -> Path:
    """Write a complete edit folder (tensors of any shape) beside ``folder`` and swap it in."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        data = dump_tensors(tensors)
        (new / _FILE_OF_KIND[meta["kind"]]).write_bytes(data)
        facts = meta | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, content in (extra | {EDIT: facts}).items():
            (new / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def locate(path: Path) -> Path:
    """The edit's folder behind ``path``: itself, or ``edit/`` inside a run folder.

    Raises:
        CheckpointError: neither is there.
    """
    for folder in (path, path / "edit"):
        if (folder / EDIT).is_file() or (folder / ADAPTER_CONFIG).is_file():
            return folder
    if not path.exists():
        raise CheckpointError(f"no edit at '{path}': give the folder of an edit or of an unlearn.py run")
    raise CheckpointError(
        f"'{path}' holds no edit (neither {EDIT} nor edit/{EDIT}): give the folder of an edit or of an unlearn.py run"
    )


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``edit.json`` (or a minimal one for a bare PEFT folder) and the tensors, of any shape, checksum verified.

    Raises:
        CheckpointError: naming the file that is missing or corrupt.
    """
    meta = read_json(folder / EDIT) if (folder / EDIT).is_file() else {"schema": 1, "kind": "adapter"}
    schema, kind = meta.get("schema"), meta.get("kind")
    if schema != 1 or not isinstance(kind, str) or kind not in _FILE_OF_KIND:
        kinds = " or ".join(_FILE_OF_KIND)
        raise CheckpointError(
            f"'{folder / EDIT}' describes schema {shown(schema)}, kind {shown(kind)}; expected schema 1, kind {kinds}"
        )
    _check_facts(meta, folder / EDIT)
    path = folder / _FILE_OF_KIND[str(meta["kind"])]
    if not path.is_file():
        raise CheckpointError(f"'{path}' is missing: the edit is incomplete, make it again")
    data = path.read_bytes()
    if "sha256" in meta and hashlib.sha256(data).hexdigest() != meta["sha256"]:
        raise CheckpointError(f"'{path}' is corrupt (its checksum differs from {EDIT}): make or copy the edit again")
    try:
        return meta, load_tensors(data)
    except Exception as error:  # safetensors raises its own, private error type
        raise CheckpointError(
            f"'{path}' is not a readable safetensors file ({shown(error, 120)}): make or copy the edit again"
        ) from None


def _check_facts(meta: dict[str, Any], path: Path) -> None:
    """Refuse facts about an edit that are no text, and settings that are no mapping."""
    for key in ("method", "concept", "base"):
        if not isinstance(meta.get(key, ""), str):
            raise CheckpointError(f"'{path}' has {key}={shown(meta[key])}, expected text: make or copy the edit again")
    if not isinstance(meta.get("settings") or {}, dict):
        stated = shown(meta["settings"])
        raise CheckpointError(f"'{path}' has settings={stated}, expected a mapping: make or copy the edit again")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; :class:`CheckpointError` where it is missing or something else."""
    if not path.exists():
        raise CheckpointError(f"'{path}' is missing: the edit is incomplete, make it again")
    value = documents.read_json(path, CheckpointError)
    if not isinstance(value, dict):
        raise CheckpointError(f"'{path}' holds no JSON object: make or copy the edit again")
    return value


def peft_config(layers: list[str], rank: int, alpha: float, dropout: float) -> dict[str, Any]:
    """PEFT's ``adapter_config.json`` for plain LoRA on ``layers``."""
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": dropout,
        "target_modules": layers,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
    }


def read_peft_config(folder: Path) -> dict[str, Any]:
    """PEFT's configuration of a plain LoRA adapter.

    Raises:
        CheckpointError: missing, not LoRA, or a LoRA variant whose delta is not ``alpha / rank * B A``.
    """
    path = folder / ADAPTER_CONFIG
    config = read_json(path)
    if config.get("peft_type") != "LORA" or "lora_alpha" not in config:
        raise CheckpointError(
            f"'{path}' is no LoRA adapter (peft_type {config.get('peft_type')!r}): expected LORA with lora_alpha"
        )
    variants = [key for key in _VARIANTS if config.get(key)]
    if variants:
        raise CheckpointError(
            f"'{path}' sets {', '.join(variants)}: only plain LoRA (alpha / rank * B A) can be applied"
        )
    return config


def to_peft_names(factors: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """``{layer: (A, B)}`` under the names PEFT gives them."""
    named = {f"{_PEFT_PREFIX}{layer}.lora_A.weight": a for layer, (a, _) in factors.items()}
    return named | {f"{_PEFT_PREFIX}{layer}.lora_B.weight": b for layer, (_, b) in factors.items()}


def from_peft_names(tensors: dict[str, Tensor], folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The inverse of :func:`to_peft_names`: factors ``(rank, in)`` and ``(out, rank)`` by layer.

    Raises:
        CheckpointError: a tensor is no LoRA factor, or has no partner.
    """
    sides: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    for name, tensor in tensors.items():
        layer, _, side = name.removeprefix(_PEFT_PREFIX).removesuffix(".weight").rpartition(".lora_")
        if side not in sides:
            raise CheckpointError(f"'{folder / ADAPTERS}' holds '{name}', which is no LoRA factor (lora_A or lora_B)")
        sides[side][layer] = tensor
    unpaired = sorted(sides["A"].keys() ^ sides["B"].keys())
    if unpaired or not tensors:
        lacking = unpaired[0] if unpaired else "every layer"
        raise CheckpointError(f"'{folder / ADAPTERS}' lacks a factor of '{lacking}': make the edit again")
    return {layer: (a, sides["B"][layer]) for layer, a in sides["A"].items()}
