"""Which methods and backbones fit together, judged by their definitions: before any data or weights are read."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmu.app import CONFIGS
from hmu.backbones.base import MotionBackbone
from hmu.build import get_object, instantiate
from hmu.errors import ConfigError
from hmu.methods.base import Method

Backbone = type[MotionBackbone] | MotionBackbone


def check_pair(method: Method, node: DictConfig) -> None:
    """Refuse a pair that cannot work, from the class that the backbone's configuration ``node`` would build.

    Raises:
        ConfigError: as :func:`check_fit`.
    """
    kind = backbone_class(node)
    if kind is not None:
        check_fit(method, kind)


def check_fit(method: Method, backbone: Backbone) -> None:
    """Refuse a method that cannot work on this backbone, naming the pairs that can.

    Raises:
        ConfigError: with the reason.
    """
    reason = method.fits(backbone)
    if reason is None:
        return
    methods = [path.stem for path in _files("method") if _method_fits(path, backbone)]
    others = [path.stem for path in _files("backbone") if _backbone_fits(path, method)]
    raise ConfigError(
        f"method={method.name} does not fit backbone {backbone.name}: {reason}; methods that fit {backbone.name}: "
        f"{', '.join(methods) or 'none'}; backbones that {method.name} fits: {', '.join(others) or 'none'}"
    )


def backbone_class(node: DictConfig) -> type[MotionBackbone] | None:
    """The class that a configuration builds: its target, or what its target is annotated to return; None if unknown."""
    target = OmegaConf.select(node, "_target_")
    if target is None:
        return None
    thing: Any = get_object(target)
    try:
        kind = thing if isinstance(thing, type) else typing.get_type_hints(thing).get("return")
    except NameError:  # annotated with a name that exists for type checkers only
        return None
    return kind if isinstance(kind, type) and issubclass(kind, MotionBackbone) else None


def _files(group: str) -> Iterator[Path]:
    return iter(sorted((CONFIGS / group).glob("[!_]*.yaml")))


def default_method(name: str) -> Method:
    """The method of ``configs/method/<name>.yaml`` as it stands there; only good to be asked what it fits."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    running = GlobalHydra().is_initialized()  # else called as a library
    with nullcontext() if running else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose(f"method/{name}")
    root = OmegaConf.merge({"paths": {"cache": "."}}, composed)
    return instantiate(OmegaConf.create(OmegaConf.to_container(root, resolve=True)["method"]))  # type: ignore[index, call-overload]


def _method_fits(path: Path, backbone: Backbone) -> bool:
    from hydra.errors import HydraException

    try:
        return default_method(path.stem).fits(backbone) is None
    except (HydraException, ConfigError):
        return False


def _backbone_fits(path: Path, method: Method) -> bool:
    node = OmegaConf.load(path)
    kind = backbone_class(node) if isinstance(node, DictConfig) else None
    return kind is not None and method.fits(kind) is None
