"""Checks of a composed configuration, before anything heavy is imported."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from hmu.config_types import misfit, top_misfit
from hmu.errors import ConfigError

_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def check_config(config: DictConfig, overrides: Iterable[str] = ()) -> None:
    """Refuse keys that nothing would read, missing mandatory values, and values of a wrong type.

    Args:
        config: the composed configuration.
        overrides: the command line's overrides; an added key (``+typo=1``) must be an argument of its node's
            ``_target_``.

    Raises:
        ConfigError: names the key, and the keys that exist or the type that is expected.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"no value for {', '.join(missing)}: give it on the command line, e.g. {missing[0]}=…")
    for override in overrides:
        if override.startswith("+"):
            _check_added(config, override.lstrip("+").split("=", 1)[0])
    check_targets(config)
    if wrong := top_misfit(config):
        raise ConfigError(wrong)


def _check_added(config: DictConfig, key: str) -> None:
    if "@" in key or "/" in key:
        return  # a config group, which Hydra has found
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if leaf in _HYDRA_KEYS:
        return
    if not isinstance(node, DictConfig) or "_target_" not in node:
        group = (CONFIGS_DIR / key).is_dir()
        if not group:
            known = sorted(str(k) for k in (node if isinstance(node, DictConfig) else {}) if k != leaf)
            raise ConfigError(f"unknown key '{key}': nothing reads it; known here: {', '.join(known)}")


CONFIGS_DIR = Path(__file__).resolve().parents[1] / "configs"


def check_targets(config: DictConfig | ListConfig, prefix: str = "") -> None:
    """Every key of a node with a ``_target_`` must be an argument of it, every value fit its annotation.

    Raises:
        ConfigError: naming the key, the target and its arguments, or the type; or a target that does not exist.
    """
    if isinstance(config, ListConfig):
        items: list[tuple[str, Any]] = [(str(i), config._get_node(i)) for i in range(len(config))]
    else:
        items = [(str(key), config._get_node(key)) for key in config]
        target = None if OmegaConf.is_missing(config, "_target_") else config.get("_target_")
        if isinstance(target, str):
            _check_arguments(target, dict(items), prefix)
    for key, node in items:
        if (
            isinstance(node, (DictConfig, ListConfig))
            and not node._is_none()
            and not node._is_missing()
            and not node._is_interpolation()
        ):
            check_targets(node, f"{prefix}{key}.")


def _check_arguments(target: str, given: Mapping[str, Any], prefix: str) -> None:
    known = arguments(target)
    if known is None:
        return
    unknown = sorted(set(given) - set(known) - _HYDRA_KEYS)
    if unknown:
        raise ConfigError(f"unknown key '{prefix}{unknown[0]}': {target} takes {', '.join(sorted(known))}")
    for key, hint in known.items():
        wrong = misfit(f"{prefix}{key}", given[key], hint) if key in given and hint is not None else None
        if wrong:
            raise ConfigError(wrong)


@cache
def arguments(target: str) -> Mapping[str, ast.expr | None] | None:
    """Names of the arguments of a dotted target with their annotations, None when it takes any (``**kwargs``).

    Annotations are those of our own code; of other packages' arguments they are None. Targets inside ``hmu`` are read
    from their source so that checking a configuration does not import torch.

    Raises:
        ConfigError: when there is no such function or class.
    """
    found = _from_source(target) if target.startswith("hmu.") else None
    if found is not None:
        return None if "**" in found else found
    try:
        thing = _import(target)
        parameters = inspect.signature(thing).parameters.values()  # type: ignore[arg-type]
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_ '{target}' does not exist ({error})") from None
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    # our modules postpone their annotations, so that they are text here
    texts = {p.name: p.annotation if target.startswith("hmu.") else None for p in parameters}
    return {k: ast.parse(t, mode="eval").body if isinstance(t, str) else None for k, t in texts.items()}


def _import(target: str) -> object:
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name is not None and not ".".join(parts[:cut]).startswith(error.name):
                raise
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise ImportError(f"no module for '{target}'")


def _from_source(target: str) -> dict[str, ast.expr | None] | None:
    """Arguments read from the syntax tree; None when they cannot be told without importing."""
    parts = target.split(".")
    root = Path(__file__).resolve().parents[1]
    for cut in range(len(parts) - 1, 0, -1):
        base = root.joinpath(*parts[:cut])
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if file.is_file():
            return _arguments_in(ast.parse(file.read_text(encoding="utf-8")), parts[cut:])
    return None


def _arguments_in(tree: ast.Module | ast.ClassDef, names: list[str]) -> dict[str, ast.expr | None] | None:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == names[0]:
            if len(names) > 1:
                return _arguments_in(node, names[1:]) if isinstance(node, ast.ClassDef) else None
            if isinstance(node, ast.FunctionDef):
                return _signature(node, method=isinstance(tree, ast.ClassDef))
            init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
            return _signature(init, method=True) if init is not None else None
    return None


def _signature(node: ast.FunctionDef, *, method: bool) -> dict[str, ast.expr | None]:
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    positional = node.args.posonlyargs + node.args.args
    taken = positional[1:] if method and not static else positional
    found = {a.arg: a.annotation for a in taken + node.args.kwonlyargs}
    return {**found, "**": None} if node.args.kwarg else found
