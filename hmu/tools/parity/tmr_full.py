"""Parity of TMR at the published widths, weights by formula (``tmr_full``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.evaluators.tmr.evaluator import PARTS, TMREvaluator
from hmu.evaluators.tmr.files import from_parts
from hmu.tools.parity.checks import Check
from hmu.tools.parity.guo import F32, F64, Arrays, formula, formula_checks, read_json
from hmu.tools.parity.tmr import empty, masked, modules, similarities, stored

State = dict[str, dict[str, Tensor]]
#: what the authors' defaults are where a case states no sizes
PUBLISHED = {"latent_dim": 256, "ff_size": 1024, "num_layers": 6, "num_heads": 4, "dropout": 0.1, "activation": "gelu"}


def full(case: Path) -> Iterator[Check]:
    """Encoders and decoder on the stored inputs."""
    told = [read_json(path) for path in sorted(case.rglob("*.json"))]
    arrays = {n: a for path in sorted(case.rglob("*.npz")) for n, a in np.load(path).items()}
    model = _model(told, arrays)
    listed: Any = next((t["check"] for t in told if isinstance(t, Mapping) and "check" in t), {})
    evaluator = _fitting(case.name, model, listed)
    yield from formula_checks(networks(evaluator), listed)
    seen: set[str] = set()
    with torch.no_grad():
        for suffix, dtype, tolerance in (("_f64", torch.float64, F64), ("", torch.float32, F32)):
            for check in modules(evaluator.to(dtype), arrays, suffix, dtype, tolerance):
                seen.add(check.name)
                yield check
        latents = {k: _latents(evaluator.to(torch.float64), arrays, k) for k in ("text", "motion")}
        for check in similarities(latents, arrays):
            seen.add(check.name)
            yield check
    inputs = ("motion", "text", "decode_z", "decode_lengths")
    for name in sorted(set(arrays) - seen):
        stem = name.removesuffix("_f16")
        if stem not in inputs and not stem.endswith(("_mask", "_len", "_lens", "_lengths", "_lengths2", "_order")):
            yield Check(f"unknown array {name}", float("inf"), 0.0)


def _latents(evaluator: TMREvaluator, arrays: Arrays, kind: str) -> Tensor:
    value = stored(arrays, kind, torch.float64)
    network = evaluator.motion_encoder if kind == "motion" else evaluator.text_encoder
    return network(value, masked(arrays, kind, value.shape[1]))[:, 0]  # type: ignore[no-any-return]


def _model(told: list[Any], arrays: Arrays) -> dict[str, dict[str, Any]]:
    """The sizes of the three networks: a ``model`` node anywhere in the JSON files, else the published ones."""
    for content in told:
        found = _find(content)
        if found is not None:
            return {part: {**PUBLISHED, **found[part]} for part in PARTS}
    flat = {k: v for t in told if isinstance(t, Mapping) for k, v in t.items() if k in PUBLISHED}
    widths = {k: int(next(arrays[n] for n in (k, f"{k}_f16") if n in arrays).shape[-1]) for k in ("motion", "text")}
    return {part: {**PUBLISHED, **flat, "nfeats": widths[part.split("_")[0]]} for part in PARTS}


def _find(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, Mapping):
        if all(isinstance(content.get(p), Mapping) and "nfeats" in content[p] for p in PARTS):
            return content
        content = list(content.values())
    for item in content if isinstance(content, list) else ():
        found = _find(item)
        if found is not None:
            return found
    return None


def _settings(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"heads": part["num_heads"], "dropout": part["dropout"], "activation": part["activation"]}


def _fitting(name: str, model: Mapping[str, Mapping[str, Any]], listed: Mapping[str, Any]) -> TMREvaluator:
    """Weights by formula; whether LayerNorm weights are moved to 1 is decided by the listed values."""
    shapes = {part: module.state_dict() for part, module in networks(empty(model)).items()}
    settings = {part: _settings(model[part]) for part in PARTS}
    fits = [
        from_parts(_filled(shapes, moved), name, settings, unit=False, variant="upstream") for moved in (True, False)
    ]
    return min(fits, key=lambda made: sum(check.deviation for check in formula_checks(networks(made), listed)))


def networks(evaluator: TMREvaluator) -> dict[str, torch.nn.Module]:
    """The three networks by name."""
    return {part: getattr(evaluator, part) for part in PARTS}


def _filled(shapes: Mapping[str, Mapping[str, Tensor]], moved: bool) -> State:
    state: State = {}
    for part, tensors in shapes.items():
        state[part] = {}
        for name, value in tensors.items():
            filled = formula(f"{part}.{name}", value.shape)
            is_norm = ".norm" in name and name.endswith(".weight")
            state[part][name] = (filled + 1 if moved and is_norm else filled).float()
    return state


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"tmr_full": full}
