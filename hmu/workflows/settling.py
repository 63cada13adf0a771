"""What a composed configuration means for its data and for the run that it measures; the command line always wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu.build import check_received, get_class
from hmu.compose import option
from hmu.config import check_targets
from hmu.data.concepts import PROMPTS
from hmu.errors import CheckpointError, ConfigError
from hmu.overrides import chooses, keys, leaves, parsed, place_of, recorded_choices, typed
from hmu.run import load_config
from hmu.tree import options
from hmu.workflows.sides import KEYS, lists_of

log = logging.getLogger(__name__)

#: keys of folders that are safe to delete
CACHES = ("cache_dir", "cache")

#: what a run's own configuration decides unless the command line does
FROM_RUN = ("dataset", "backbone", "concept", "evaluator")


def settled(config: DictConfig) -> DictConfig:
    """``config`` with what the measured run, the concept and the data set decide.

    Raises:
        CheckpointError: ``ckpt`` does not exist.
        ConfigError: a suite or a key that does not belong to these data, or a key that the run's node does not take.
    """
    if "ckpt" in config:
        config = with_run(config)
    if "concept" in config:
        config = settle_concept(config)
    return settle_suite(config) if "suite" in config else config


def with_run(config: DictConfig) -> DictConfig:
    """Fill in what the measured run was made with, except where the command line says otherwise."""
    path = Path(config.ckpt)
    if not path.exists():
        raise CheckpointError(f"ckpt: '{path}' does not exist; give a run folder, an edit folder or a checkpoint")
    home = path if (path / "config.yaml").is_file() else path.parent
    if not (home / "config.yaml").is_file():
        return config
    ran = load_config(home)
    return recorded_lists(take_over(config, ran, FROM_RUN, home), ran)


def recorded_lists(config: DictConfig, ran: DictConfig) -> DictConfig:
    """``config`` with the lists of the run that is measured, so that it is measured as it measured itself."""
    lists = lists_of(ran)
    if lists is None or lists_of(config) is not None:
        return config
    if not all(path.is_file() for path in lists):
        log.warning("%s and %s of that run are gone: its clips are divided by the concept's keywords", *lists)
        return config
    taken = config.copy()
    for key, path in zip(KEYS, lists, strict=True):
        OmegaConf.update(taken, key, str(path))
    return taken


def settle_concept(config: DictConfig) -> DictConfig:
    """The concept's overrides for the data set, filled in; what refers to the concept (an anchor) follows."""
    data = _alike(config.dataset.name)
    overrides = OmegaConf.select(config, "concept.overrides") or {}
    change = next((change for name, change in overrides.items() if _alike(name) == data), None)
    if change is None:
        return config
    given = keys(typed())
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    changed.concept.overrides = {}
    for key, value in change.items():
        if f"concept.{key}" not in given:
            changed.concept[key] = value
    return changed


def _alike(name: object) -> str:
    """Names of data sets are alike whatever their case, and with ``-`` for ``_``."""
    return str(name).lower().replace("-", "_")


def settle_suite(config: DictConfig) -> DictConfig:
    """The suite and the evaluator that the data need (``measured_by``), unless the command line chooses others.

    Single keys of the command line (``suite.repeats=1``, ``suite.limits={forget:4}``) are kept.
    """
    name = get_class(config.dataset._target_).measured_by  # type: ignore[attr-defined]
    if not name:
        return config
    given = [key for override in parsed(typed()) for key in leaves(place_of(override), override.value())]
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    for group in ("suite", "evaluator"):
        if group in given:
            continue
        changed[group] = option(group, name)
        for key in (key for key in given if key.startswith(f"{group}.")):
            if key.split(".")[1] not in changed[group]:
                raise ConfigError(f"{key}: {name} is measured with {group}={name}, which has no such key")
            OmegaConf.update(changed, key, OmegaConf.select(config, key), merge=False)
    asked = "suite" in given and any(OmegaConf.select(changed, f"suite.limits.{name}") for name in PROMPTS)
    if asked or changed.suite.get("gallery") is not None:  # hard prompts, captions of real clips
        raise ConfigError(f"the chosen suite asks by captions, and {name} has none: use suite={name}")
    return changed


def take_over(config: DictConfig, ran: DictConfig, groups: Sequence[str], folder: Path) -> DictConfig:
    """``config`` with the ``groups`` as ``ran`` of ``folder`` recorded them, changed as the command line says.

    ``backbone=…`` chooses another one altogether; ``backbone.sampling.guidance=1`` or ``text@backbone.text=clip``
    changes that much of the recorded one. Groups that the run did not have stay as composed.

    Raises:
        CheckpointError: a recorded node would call what the configuration tree does not name there.
        ConfigError: the command line gives a key that the recorded node does not take.
    """
    places = [(place_of(override), override) for override in parsed(typed())]
    replaced = {place for place, override in places if chooses(override)}
    given = {path for place, override in places for path in leaves(place, override.value())}
    rewritten = relocation(ran, config, given)
    taken = config.copy()
    OmegaConf.set_struct(taken, False)
    for group in groups:
        if group in replaced or not ran.get(group):
            continue
        recorded = OmegaConf.to_container(ran[group])
        check_received(recorded, group, folder / "config.yaml", given, config.get("trust"))
        taken[group] = completed(config, group, rewritten(recorded), folder)
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
    comes from another machine. ``given``: the keys that the command line gives.
    """
    names = {str(name): Path(str(old)) for name, old in (ran.get("paths") or {}).items() if name in config.paths}
    inmost_first = sorted(names.items(), key=lambda item: len(item[1].parts), reverse=True)

    def moved(value: str, always: bool) -> str:
        path = Path(value)
        for name, old in inmost_first:
            if not (path.is_absolute() or path == old) or not path.is_relative_to(old):
                continue
            new = Path(str(config.paths[name])) / path.relative_to(old)
            due = always or not given.isdisjoint({f"paths.{name}", "paths.root"})
            return str(new) if due or (not path.exists() and new.exists()) else value
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
    for path in leaves(place, override.value()):
        OmegaConf.update(taken, path, OmegaConf.select(config, path), merge=False, force_add=True)


# -- what a record lacks -----------------------------------------------------------------------------------------------
def completed(config: DictConfig, group: str, recorded: Any, home: Path) -> Any:
    """A recorded node with the keys that it lacks, because it is older than they are, as today's files give them.

    What is built has no numbers of its own: they live in the files. Only nodes that build the same thing (``_target_``)
    in both get keys. A concept describes itself: what it lacks is absent.
    """
    choices = recorded_choices(home)

    def today(group: str, node: Any) -> Any:
        target = node.get("_target_") if isinstance(node, dict) else None
        names = [name for name in options(group) if name == choices.get(group)] or list(options(group))
        files = [_as_composed(config, group, name) for name in names] if target else []
        return nearest([file for file in files if file.get("_target_") == target], node)

    def nearest(files: list[dict[str, Any]], node: Any) -> Any:
        return max(files, key=lambda file: _agreement(node, file), default=None)

    def filled(node: Any, file: Any) -> Any:
        if not isinstance(node, dict) or not isinstance(file, dict):
            return node
        whole = {key: filled(value, beside(key, value, file.get(key))) for key, value in node.items()}
        same = "_target_" in node and node["_target_"] == file.get("_target_")
        return {key: value for key, value in file.items() if key not in whole} | whole if same else whole

    def beside(key: str, node: Any, file: Any) -> Any:
        """Of a part for which another option was chosen (``text@backbone.text=clip``), that option's file."""
        other = isinstance(node, dict) and isinstance(file, dict) and node.get("_target_") != file.get("_target_")
        return today(key, node) if other else file

    if group == "recipes":  # by kind of model, a file each
        files = [_as_composed(config, "recipe", name) for name in options("recipe")]
        return {kind: filled(node, nearest(files, node)) for kind, node in recorded.items()}
    return recorded if group == "concept" else filled(recorded, today(group, recorded))


def _agreement(node: Any, file: Any) -> int:
    """How many values the two share."""
    if isinstance(node, dict) and isinstance(file, dict):
        return sum(_agreement(value, file.get(key)) for key, value in node.items())
    return int(node == file)


def _as_composed(config: DictConfig, group: str, name: str) -> dict[str, Any]:
    """An option's file where the group stands in ``config``; empty if it looks up what is not there."""
    around = config.copy()
    OmegaConf.set_struct(around, False)
    around[group] = option(group, name)
    try:
        plain: Any = OmegaConf.to_container(around[group], resolve=True)
    except OmegaConfBaseException:
        return {}
    return dict(plain)
