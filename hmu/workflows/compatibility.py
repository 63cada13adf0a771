"""Which methods and backbones fit together, judged by their definitions: before any data or weights are read."""

from __future__ import annotations

from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.build import built_class
from hmu.compose import configured
from hmu.documents import read_yaml
from hmu.errors import ConfigError, HmuError
from hmu.methods.base import Method
from hmu.tree import options

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
    methods = [name for name in options("method") if _method_fits(name, backbone)]
    kinds = {name: _default_class(path) for name, path in options("backbone").items()}
    others = [name for name, kind in kinds.items() if kind is not None and method.fits(kind) is None]
    raise ConfigError(
        f"method={method.name} does not fit backbone {backbone.name}: {reason}; methods that fit {backbone.name}: "
        f"{', '.join(methods) or 'none'}; backbones that {method.name} fits: {', '.join(others) or 'none'}"
    )


def backbone_class(node: DictConfig) -> type[MotionBackbone] | None:
    """The class that a configuration builds: its target, or what its target is annotated to return; None if unknown."""
    target = OmegaConf.select(node, "_target_")
    kind = None if target is None else built_class(target)
    return kind if kind is not None and issubclass(kind, MotionBackbone) else None


def _method_fits(name: str, backbone: Backbone) -> bool:
    """Whether a file of the tree, which may be anybody's, can be asked and fits."""
    try:
        return default_method(name).fits(backbone) is None
    except (HydraException, HmuError):
        return False


def default_method(name: str) -> Method:
    """The method of ``method=<name>`` as it stands in its file; only good to be asked what it fits."""
    method: Method = configured("method", name)
    return method


def _default_class(path: Path) -> type[MotionBackbone] | None:
    node = read_yaml(path, ConfigError)
    return backbone_class(OmegaConf.create(node)) if isinstance(node, dict) else None
