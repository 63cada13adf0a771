"""Checks of a composed configuration, before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from hmu.checkpoints.sealed import check_place
from hmu.config_source import arguments as arguments
from hmu.config_source import is_ours
from hmu.config_types import keys_misfit, misfit
from hmu.documents import walk
from hmu.errors import ConfigError, offered, shown
from hmu.moved import rename
from hmu.tree import CONFIGS as CONFIGS
from hmu.tree import is_group
from hmu.values import Keys, annotation

_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def check_config(config: DictConfig, overrides: Iterable[str] = (), keys: type[Keys] = Keys) -> None:
    """Refuse keys that nothing would read, missing mandatory values, and values of a wrong type.

    A key that the command line adds (``+typo=1``) must be an argument of its node's ``_target_``. Targets of earlier
    versions get today's names.

    Raises:
        ConfigError: names the key, and the keys that exist or the type that is expected.
        DataError: ``paths.cache`` lies below a file.
    """
    rename(config)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"no value for {', '.join(missing)}: give it on the command line, e.g. {missing[0]}=…")
    for override in overrides:
        if override.startswith("+"):
            _check_added(config, override.lstrip("+").split("=", 1)[0], keys)
    if wrong := keys_misfit(config, keys):
        raise ConfigError(wrong)
    check_targets(config)
    cache = OmegaConf.select(config, "paths.cache", throw_on_resolution_failure=False)
    if cache is not None and "dataset" in config:
        check_place(Path(str(cache)), written=False)


def _check_added(config: DictConfig, key: str, keys: type[Keys]) -> None:
    if "@" in key or "/" in key or annotation(keys, key) is not None:
        return  # a config group, which Hydra has found, or a key that there is
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    built = OmegaConf.select(config, key) if parent else None
    if leaf in _HYDRA_KEYS or (isinstance(built, DictConfig) and "_target_" in built):
        return  # one more thing to build: a callback, a metric
    if not isinstance(node, DictConfig) or "_target_" not in node:
        if is_group(key) and key in config:
            raise ConfigError(f"+{key}=…: nothing reads it there; say where it belongs: +{key}@<place>=…")
        if not is_group(key):
            known = sorted(str(k) for k in (node if isinstance(node, DictConfig) else {}) if k != leaf)
            raise ConfigError(f"unknown key '{key}': nothing reads it; known here: {offered(known, leaf)}")


def check_targets(config: DictConfig | ListConfig) -> None:
    """Every key of a node with a ``_target_`` must be an argument of it, every value fit its annotation.

    Numbers that are none (``nan``, ``inf``) are refused everywhere. What other packages take is looked up last: that
    imports them.

    Raises:
        ConfigError: naming the key, the target and its arguments, or the type; or a target that does not exist.
    """
    for path, value in walk(OmegaConf.to_container(config)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{'.'.join(path)}={value}: expected a number (not nan or inf)")
    nodes = list(_nodes(config, ""))
    for ours in (True, False):
        for prefix, node in nodes:
            if isinstance(node, ListConfig) or OmegaConf.is_missing(node, "_target_"):
                continue
            target = node.get("_target_")
            if "_target_" in node and not isinstance(target, str):
                raise ConfigError(f"{prefix}_target_={shown(target)}: expected the name of a class or function")
            if isinstance(target, str) and is_ours(target) is ours:
                _check_arguments(target, {str(key): node._get_node(key) for key in node}, prefix)


def _nodes(node: DictConfig | ListConfig, prefix: str) -> Iterator[tuple[str, DictConfig | ListConfig]]:
    """A node and all below it, with what comes before their keys."""
    yield prefix, node
    keys: Iterable[Any] = range(len(node)) if isinstance(node, ListConfig) else node
    for key in keys:
        inner = node._get_node(key)
        if isinstance(inner, (DictConfig, ListConfig)) and not (
            inner._is_none() or inner._is_missing() or inner._is_interpolation()
        ):
            yield from _nodes(inner, f"{prefix}{key}.")


def _check_arguments(target: str, given: Mapping[str, Any], prefix: str) -> None:
    known = arguments(target)
    if known is None:
        return
    unknown = sorted(set(given) - set(known) - _HYDRA_KEYS)
    if unknown and "**" not in known:
        raise ConfigError(f"unknown key '{prefix}{unknown[0]}': {target} takes {offered(sorted(known), unknown[0])}")
    for key, hint in known.items():
        wrong = misfit(f"{prefix}{key}", given[key], hint) if key in given and hint is not None else None
        if wrong:
            raise ConfigError(wrong)
