"""One option of a configuration group as its files stand, for people and tests that come without Hydra."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from hmu.app import register_resolvers
from hmu.build import instantiate
from hmu.config import CONFIGS_DIR


def composed(group: str, option: str, overrides: tuple[str, ...] = (), **around: Any) -> DictConfig:
    """``configs/<group>/<option>.yaml`` with everything that it takes in, resolved.

    Args:
        group: ``method``; option: ``esd``.
        overrides: as on the command line, ``("method.lr=1e-3",)``.
        around: what its interpolations look up in the rest of a configuration (``paths``, ``dataset``).
    """
    register_resolvers()
    running = GlobalHydra().is_initialized()
    with nullcontext() if running else initialize_config_dir(str(CONFIGS_DIR), version_base="1.3"):
        found = compose(overrides=[f"+{group}={option}", *overrides])
    base: dict[Any, Any] = {"paths": {"cache": ".", "data": "."}, "seed": 0, **around}
    root = OmegaConf.merge(base, found)
    node = OmegaConf.create(OmegaConf.to_container(OmegaConf.select(root, group), resolve=True))
    assert isinstance(node, DictConfig)
    return node


def configured(group: str, option: str, **changes: Any) -> Any:
    """The same, built; ``changes`` replace arguments: ``configured("method", "esd", steps=3)``.

    The numbers of a method, a metric or a model live in its file and nowhere else: this is how Python gets them.
    """
    return instantiate(composed(group, option), **changes)
