"""Composing: resolvers of the files, single options of a group, for people and tests that come without Hydra."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hmu import folders
from hmu.build import get_class, instantiate
from hmu.command_line import understood
from hmu.config import check_config
from hmu.errors import ConfigError, shown
from hmu.folders import job_name
from hmu.overrides import choice, running, standing_in, typed
from hmu.processes import run_stamp, started
from hmu.refusals import one_line
from hmu.tree import CONFIGS, initialised
from hmu.values import Keys

SCRIPTS = ("train", "unlearn", "evaluate")


def register_resolvers() -> None:
    """Resolvers used in ``configs/``: ``${hmu.stamp:}``, ``${hmu.asset:demo/salad}``, ``${hmu.choice:backbone}`` …"""
    if OmegaConf.has_resolver("hmu.stamp"):
        return
    OmegaConf.register_new_resolver("hmu.stamp", run_stamp)
    OmegaConf.register_new_resolver("hmu.asset", asset)
    OmegaConf.register_new_resolver("hmu.choice", lambda group, *, _root_: choice(group, _root_))
    OmegaConf.register_new_resolver("hmu.root", lambda: os.path.abspath(os.environ.get("HMU_ROOT") or os.getcwd()))
    OmegaConf.register_new_resolver("hmu.job", lambda: job_name(typed(), int(running().job.num)))


def asset(name: str) -> str:
    """Path of a file or folder packaged with hmu (small demo weights)."""
    return str(Path(__file__).resolve().parent / "assets" / name)


def option(group: str, name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """``configs/<group>/<name>.yaml`` with everything that it takes in; ``${…}`` that look elsewhere stay as they are.

    ``overrides``: as on the command line, ``("method.lr=1e-3",)``.

    Raises:
        ConfigError: there is no such group, or no such file, with those there are.
    """
    node = OmegaConf.select(_composed(overrides=[f"+{group}={name}", *overrides]), group)
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{shown(group)}: no such group of choices")
    return node


def _composed(root: str | None = None, **arguments: Any) -> DictConfig:
    """As Hydra's ``compose``; what that refuses is a ConfigError, in one line."""
    register_resolvers()
    with initialised():
        try:
            return compose(root, **arguments)
        except HydraException as error:
            raise ConfigError(one_line(error) or str(error)) from error


def composed(group: str, name: str, overrides: Sequence[str] = (), **around: Any) -> DictConfig:
    """As :func:`option`, resolved; ``around`` is what it looks up elsewhere (``paths``, ``dataset``)."""
    base: dict[str, Any] = {"paths": {"cache": ".", "data": "."}, "seed": 0, **around}
    root = OmegaConf.merge(base, {group: option(group, name, overrides)})
    node: Any = OmegaConf.to_container(OmegaConf.select(root, group), resolve=True)
    return DictConfig(node)


def configured(group: str, name: str, **changes: Any) -> Any:
    """The same, built; ``changes`` replace arguments: ``configured("method", "esd", steps=3)``.

    The numbers of a method, a metric or a model live in its file and nowhere else: this is how Python gets them.
    """
    return instantiate(composed(group, name), **changes)


@contextmanager
def composing(
    root: str, words: Sequence[str] = (), folder: Path | None = None, keys: type[Keys] | None = None
) -> Iterator[DictConfig]:
    """A script's configuration as its command line ``words`` compose it; for the block that job is the running one.

    Nothing of Hydra need be initialised, and a process may do any number of jobs one after the other.

    Args:
        root: ``unlearn``, ``train``, ``evaluate`` or a tool's. folder: of the run; None: as the command line names it.
        keys: what a tool of another package declares to read; None: a script or a tool of ours.

    Raises:
        HmuError: as the command line would say it.
    """
    if started() == 1:
        os.environ.pop("HMU_RUN_STAMP", None)  # the next job has a folder of its own
    keys = keys or keys_of(root)
    config = _composed(root, overrides=understood(list(words), keys), return_hydra_config=True)
    with standing_in(config):
        ours = running()
        with read_write(ours):
            ours.runtime.output_dir = str(folder or ours.run.dir)
        plain = config.copy()
        with open_dict(plain):
            del plain["hydra"]
        check_config(plain, words, keys)
        try:
            yield plain
        except BaseException as error:
            known = one_line(error) if isinstance(error, Exception) else None
            status = "failed" if isinstance(error, Exception) else "interrupted"
            folders.end(status, known or f"{type(error).__name__}: {error}")
            raise
        finally:
            folders.done()


def keys_of(root: str) -> type[Keys]:
    """What the script or tool of a root configuration declares to read.

    Raises:
        ConfigError: neither a script nor a tool of ours.
    """
    if root in SCRIPTS:
        return get_class(f"hmu.keys.{root.capitalize()}")
    if not (CONFIGS / f"{root}.yaml").is_file():
        raise ConfigError(f"{shown(root)}: no tool of hmu; of one of another package give its keys too")
    return get_class(f"hmu.tools.{root}.Keys")
