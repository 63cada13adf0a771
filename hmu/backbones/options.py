"""Options of backbones: plain numbers, checked by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar, cast

from hmu.errors import ConfigError, shown

T = TypeVar("T")


def require(good: bool, message: str) -> None:
    """Refuse a configuration.

    Raises:
        ConfigError: with ``message``, unless ``good``.
    """
    if not good:
        raise ConfigError(message)


def changed(options: T, changes: T | Mapping[str, Any] | None) -> T:
    """``options`` with some of their values replaced: by a mapping of those, or all at once; None = as they are."""
    if changes is None or not isinstance(changes, Mapping):
        return options if changes is None else changes
    return replace(options, **changes)  # type: ignore[type-var]


def parse(kind: type[T], options: T | Mapping[str, Any] | None, section: str) -> T:
    """An options object from a mapping (Hydra hands over mappings).

    Raises:
        ConfigError: for a key that ``kind`` does not have, or one that is missing.
    """
    if isinstance(options, kind):
        return options
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"backbone.{section}={shown(options)}: expected a mapping of {', '.join(known)}")
    given = {str(key): value for key, value in dict(cast(Mapping[str, Any], options or {})).items()}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(
            f"backbone.{section}: unknown key {shown(', '.join(unknown))}; known keys: {', '.join(known)}"
        )
    missing = [k for k, f in known.items() if k not in given and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise ConfigError(f"backbone.{section}: no value for {', '.join(missing)}")
    return kind(**given)
