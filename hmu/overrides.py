"""What the user typed and chose: the words of a command line, options of configuration groups, a run's own record.

The only room that asks Hydra about the running job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hmu.build import check_received
from hmu.config import check_targets
from hmu.documents import read_json, read_yaml
from hmu.errors import DataError
from hmu.tree import is_group

#: keys of folders that are safe to delete
CACHES = ("cache_dir", "cache")
_LIMIT = 1 << 19  # bytes of a record


# -- the running job ---------------------------------------------------------------------------------------------------
def running() -> Any:
    """Hydra's node of the running job; None outside one."""
    return HydraConfig.get() if HydraConfig.initialized() else None


def in_sweep() -> bool:
    """Whether the running job is one of a multirun."""
    ours = running()
    return ours is not None and ours.mode == RunMode.MULTIRUN


@contextmanager
def standing_in(node: DictConfig) -> Iterator[None]:
    """For the time of the block the job of ``node`` (a composed configuration with ``hydra``) is the running one."""
    instance = HydraConfig.instance()
    outer = instance.cfg
    instance.set_config(node)
    try:
        yield
    finally:
        instance.cfg = outer


def typed() -> list[str]:
    """The words of the running job's command line; none outside one."""
    ours = running()
    return [] if ours is None else list(ours.overrides.task)


# -- words -------------------------------------------------------------------------------------------------------------
def split(word: str) -> tuple[str, str]:
    """Key and value of one word, of any that a user may type: ``+method.lr=1`` gives ``method.lr`` and ``1``."""
    key, _, value = word.partition("=")
    return key.lstrip("+~"), value


def keys(words: Iterable[str]) -> list[str]:
    """The keys that are given, in order; ``text@backbone.text`` stays as it is typed."""
    return [split(word)[0] for word in words]


def parsed(words: Sequence[str]) -> list[Override]:
    """Words that Hydra takes, as it reads them.

    Raises:
        HydraException: one that it does not take.
    """
    return OverridesParser.create().parse_overrides(list(words))


def _chooses(override: Override) -> bool:
    """Whether it chooses a file of a config group; ``concept={neighbours:[walk]}`` gives values of one."""
    named = override.package is not None or is_group(override.key_or_group)
    return named and not isinstance(override.value(), dict)


def _place(override: Override) -> str:
    """Where in the configuration it writes: ``backbone.sampling.guidance``, ``backbone.text``, ``backbone``."""
    return override.package or override.key_or_group.replace("/", ".")


def _leaves(place: str, value: Any) -> Iterator[str]:
    """The keys that a value writes: of a dictionary, which is merged into what is there, each of its own."""
    if not isinstance(value, dict):
        yield place
    else:
        for key, inner in value.items():
            yield from _leaves(f"{place}.{key}", inner)


# -- choices -----------------------------------------------------------------------------------------------------------
def choices(config: DictConfig) -> dict[str, str]:
    """The options by group (``backbone``: ``salad_demo``) that the running job was composed of; none outside one.

    A job that measures a run (``ckpt``) takes over what that run has chosen, unless its command line chooses.
    """
    ours = running()
    if ours is None:
        return {}
    chosen = {str(group): str(name) for group, name in ours.runtime.choices.items() if name is not None}
    ckpt, given = OmegaConf.select(config, "ckpt", throw_on_missing=False), keys(typed())
    theirs = {} if ckpt is None else chosen_by(Path(str(ckpt)))
    return chosen | {group: name for group, name in theirs.items() if group not in given}


def choice(group: str, config: DictConfig) -> str | None:
    """The option of one group; None outside a job, and where there is no such group."""
    return choices(config).get(group)


def chosen_by(path: Path) -> dict[str, str]:
    """Options by group of a run folder, or of the run that holds the folder ``path``; of an edit alone its method."""
    home = path if (path / "config.yaml").is_file() else path.parent
    method = next((m for p in (path / "edit", path) if (m := mapping(p / "edit.json").get("method"))), None)
    return ({"method": str(method)} if method else {}) | recorded_choices(home)


def recorded_choices(home: Path) -> dict[str, str]:
    """Options by group as Hydra has noted them in a run folder; empty where it has not."""
    chosen: Any = mapping(home / ".hydra" / "hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        chosen = chosen.get(key) if isinstance(chosen, dict) else None
    return {str(k): str(v) for k, v in chosen.items() if v is not None} if isinstance(chosen, dict) else {}


def mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping that somebody else may have written; empty where there is none that can be read."""
    try:
        content = (read_json if path.suffix == ".json" else read_yaml)(path, limit=_LIMIT)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}


# -- a run's record ----------------------------------------------------------------------------------------------------
def take_over(config: DictConfig, ran: DictConfig, groups: Sequence[str], folder: Path) -> DictConfig:
    """``config`` with the ``groups`` as ``ran`` recorded them, changed as the command line says.

    ``backbone=…`` chooses another one altogether; ``backbone.sampling.guidance=1`` or ``text@backbone.text=clip``
    changes that much of the recorded one.

    Args:
        config: as it was composed: it holds the values that the command line gives.
        ran: a run's ``config.yaml``, resolved.
        groups: top-level nodes; those that the run did not have (``{}``) stay as composed.
        folder: of the run.

    Raises:
        CheckpointError: a recorded node would call what the configuration tree does not name there.
        ConfigError: the command line gives a key that the recorded node does not take.
    """
    places = [(_place(override), override) for override in parsed(typed())]
    chosen = {place for place, override in places if _chooses(override)}
    given = {path for place, override in places for path in _leaves(place, override.value())}
    rewritten = relocation(ran, config, given)
    taken = config.copy()
    OmegaConf.set_struct(taken, False)
    for group in groups:
        if group in chosen or not ran.get(group):
            continue
        recorded = OmegaConf.to_container(ran[group])
        check_received(recorded, group, folder / "config.yaml", given, config.get("trust"))
        taken[group] = rewritten(recorded)
        for place, override in places:
            if f"{place}.".startswith(f"{group}."):
                _apply(taken, config, place, override)
    check_targets(taken)
    return taken


def relocation(ran: DictConfig, config: DictConfig, given: set[str]) -> Callable[[Any], Any]:
    """What turns paths below the ``paths`` of a run into paths below those of ``config``, in plain nodes of any depth.

    Caches are always moved, one of the run's own, outside its ``paths``, too: what they hold is made again, and nothing
    is written where only a received file says so. Other paths are moved where the command line names that one of the
    ``paths`` (or all of them, ``paths.root=``), or where the recorded path is gone and the new one exists: the run
    comes from another machine.

    Args:
        ran, config: configurations with ``paths``.
        given: the keys that the command line gives.
    """
    names = {str(name): Path(str(old)) for name, old in (ran.get("paths") or {}).items() if name in config.paths}
    inmost_first = sorted(names.items(), key=lambda item: len(item[1].parts), reverse=True)

    def moved(value: str, always: bool) -> str:
        path = Path(value)
        for name, old in inmost_first:
            if not (path.is_absolute() or path == old) or not path.is_relative_to(old):
                continue
            new = Path(str(config.paths[name])) / path.relative_to(old)
            wanted = always or not given.isdisjoint({f"paths.{name}", "paths.root"})
            return str(new) if wanted or (not path.exists() and new.exists()) else value
        return str(config.paths.cache) if always else value

    def rewritten(node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {name: rewritten(value, str(name)) for name, value in node.items()}
        if isinstance(node, list):
            return [rewritten(value) for value in node]
        return moved(node, key in CACHES) if isinstance(node, str) else node

    return rewritten


def _apply(taken: DictConfig, config: DictConfig, place: str, override: Override) -> None:
    """Do to ``taken`` what the override did to ``config``."""
    if override.is_delete():
        parent, _, leaf = place.rpartition(".")
        node = OmegaConf.select(taken, parent)
        if isinstance(node, DictConfig) and leaf in node:
            del node[leaf]
        return
    for path in _leaves(place, override.value()):
        OmegaConf.update(taken, path, OmegaConf.select(config, path), merge=False, force_add=True)
