"""A run's recorded configuration, taken over for measuring it: the command line and this machine's paths win."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from hmu.app import CONFIGS
from hmu.build import check_received
from hmu.config import check_targets

#: keys of folders that are safe to delete
CACHES = ("cache_dir", "cache")


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
    given = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    places = [(_place(override), override) for override in given]
    chosen = {place for place, override in places if _is_group(override)}
    typed = {path for place, override in places for path in _leaves(place, override)}
    rewritten = relocation(ran, config, typed)
    taken = config.copy()
    OmegaConf.set_struct(taken, False)
    for group in groups:
        if group in chosen or not ran.get(group):
            continue
        recorded = OmegaConf.to_container(ran[group])
        check_received(recorded, group, folder / "config.yaml", typed, config.get("trust"))
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


def _is_group(override: Override) -> bool:
    """Whether it chooses a file of a config group; ``concept={neighbours:[walk]}`` gives values of one."""
    named = override.package is not None or (CONFIGS / override.key_or_group).is_dir()
    return named and not isinstance(override.value(), dict)


def _place(override: Override) -> str:
    """Where in the configuration it writes: ``backbone.sampling.guidance``, ``backbone.text``, ``backbone``."""
    return override.package or override.key_or_group.replace("/", ".")


def _leaves(place: str, override: Override) -> Iterator[str]:
    """The keys that it writes: of a dictionary, which is merged into what is there, each of its own."""

    def below(path: str, value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield path
        else:
            for key, inner in value.items():
                yield from below(f"{path}.{key}", inner)

    yield from below(place, override.value())


def _apply(taken: DictConfig, config: DictConfig, place: str, override: Override) -> None:
    """Do to ``taken`` what the override did to ``config``."""
    if override.is_delete():
        parent, _, leaf = place.rpartition(".")
        node = OmegaConf.select(taken, parent)
        if isinstance(node, DictConfig) and leaf in node:
            del node[leaf]
        return
    for path in _leaves(place, override):
        OmegaConf.update(taken, path, OmegaConf.select(config, path), merge=False, force_add=True)
