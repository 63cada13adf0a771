"""Manifests: names, shapes and numbers of networks of the published size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, above, read_json
from tests.parity.checks import Checks, exact

MANIFEST = "manifest_full.json"


def manifest_checks(
    case: Case, build: Callable[[dict[str, Any]], nn.Module], theirs: Callable[..., Any] | None = None
) -> Checks:
    """A case's manifest, if there is one, against what ``build`` makes of its hyper-parameters.

    ``theirs`` gives the state under the authors' names; without it kinds of tensors and totals are compared too.
    """
    if (path := case.folder / MANIFEST).is_file():
        with torch.device("meta"):
            module = build(read_json(path)["hyper_parameters"])
        state = module.state_dict()
        yield from manifest(path, theirs(state) if theirs else state, None if theirs else module)


def published(folder: Path, *parts: str) -> dict[str, Any]:
    """Numbers of the published size from the nearest manifest of one of these parts; empty where none is near."""
    for place in above(folder.resolve(), 2):
        for path in (path for depth in ("", "*/", "*/*/") for path in sorted(place.glob(depth + MANIFEST))):
            content = read_json(path)
            for part in parts:
                own = content.get(part, content if path.parent.name == part else {})
                if isinstance(own, Mapping) and own.get("hyper_parameters"):
                    return dict(own["hyper_parameters"])
    return {}


def shape_of(value: Tensor) -> dict[str, Any]:
    """Shape and type of a tensor, as manifests have it."""
    return {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}


def manifest(path: Path, state: Mapping[str, Tensor], module: nn.Module | None = None) -> Checks:
    """Names, shapes, types (and of a module kinds, trainability and totals where recorded) at the published size."""
    listed = read_json(path)
    expected = listed["state_dict"]
    parameters = dict(module.named_parameters()) if module is not None else {}
    ours = {
        name: shape_of(value)
        | {
            "kind": "parameter" if name in parameters else "buffer",
            "requires_grad": name in parameters and parameters[name].requires_grad,
        }
        for name, value in state.items()
    }
    yield exact("manifest names", sorted(ours), sorted(expected))
    for key in ("shape", "dtype", *(("kind", "requires_grad") if module else ())):
        if key in next(iter(expected.values()), {}):
            rows = ({name: entry[key] for name, entry in side.items()} for side in (ours, expected))
            yield exact(f"manifest {key}", *rows)
    totals = {
        "num_elements": sum(value.numel() for value in state.values()),
        "parameters_total": sum(p.numel() for p in parameters.values()),
        "parameters_trainable": sum(p.numel() for p in parameters.values() if p.requires_grad),
    }
    for key in totals.keys() & listed.keys():
        yield exact(f"manifest {key}", totals[key], listed[key])
