"""The published numbers of a model, which live in its configuration file and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from hmu.build import get_object, instantiate
from hmu.compose import composed

T = TypeVar("T")
FILES = ("salad", "momask", "bamm", "gaitdynamics")  # those at their published size


@cache
def _file(name: str) -> DictConfig:
    return composed("backbone", name)


def backbone(name: str, checkpoint: str | None = None, **changes: Any) -> Any:
    """``configs/backbone/<name>.yaml`` built; mappings in ``changes`` replace the values that they name."""
    node = _file(name)
    given: dict[str, Any] = {str(key): _numbers(value) for key, value in node.items()}
    if "text" not in changes and "text" in node:
        given["text"] = instantiate(node.text)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(given.get(key), Mapping)
        given[key] = {**given[key], **value} if both else value
    return get_object(given.pop("_target_"))(**{**given, "checkpoint": checkpoint})


def options(kind: type[T], **changes: Any) -> T:
    """Options of one part of a model, as published but for ``changes``."""
    target = f"{kind.__module__}.{kind.__qualname__}"
    for node in (node for name in FILES for node in _file(name).values()):
        if isinstance(node, DictConfig) and node.get("_target_") == target:
            return kind(**{**_numbers(node), **changes})
    raise LookupError(f"no file of configs/backbone names {target}")


def _numbers(node: Any) -> Any:
    """A section's values as plain ones, without what builds them."""
    if not isinstance(node, DictConfig):
        return node
    return {str(key): value for key, value in OmegaConf.to_container(node).items() if key != "_target_"}  # type: ignore[union-attr]
