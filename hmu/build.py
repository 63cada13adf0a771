"""The one door from configurations to code: what a configuration names is built here, and nowhere else.

A configuration that was composed in this process is the user's own: it comes from the installed tree, from folders
that were named with ``--config-dir``, and from the command line. A *received* one (the ``config.yaml`` of a run folder,
a mapping file) was written by somebody else. Its targets are built only where the tree names the same target for the
same node, see :func:`check_received`. ``docs/security.md`` tells the whole of it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from hmu.documents import read_text, read_yaml, walk
from hmu.errors import CheckpointError, ConfigError, HmuError, shown
from hmu.tree import tree

#: the keys that tell Hydra what to call, and how
CALLS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
RECEIVED = "received"
Place = tuple[str, ...]
_MISSING = re.compile(
    r"call to target '([\w.]+)'.*missing \d+ required [a-z -]+ arguments?: ('[\w', and]+')", re.DOTALL
)
_UNEXPECTED = re.compile(r"unexpected keyword arguments?:? ['`](\w+)")
_GLOBAL = re.compile(r"^#\s*@package\s+_global_\s*$", re.MULTILINE)


def instantiate(config: Any, **changes: Any) -> Any:
    """What a composed configuration node names, called with its values and with ``changes``.

    A node that leaves out what its target needs takes it from the files, see :func:`completed`.

    Raises:
        HmuError: what the thing itself has against its values, as it said it; which argument has no value, or is none.
        RuntimeError: the node is one of :func:`hmu.run.load_config`; :func:`check_received` has not seen it.
    """
    if OmegaConf.is_config(config) and config._get_flag(RECEIVED):
        raise RuntimeError("a received configuration is not built: check_received, then take over its plain values")
    try:
        return hydra.utils.instantiate(completed(config, changes), **changes)
    except InstantiationException as error:
        if isinstance(error.__cause__, HmuError):
            raise error.__cause__ from None
        if lacking := _MISSING.search(str(error)):
            raise ConfigError(
                f"no value for {lacking[2]}: {lacking[1]} needs one (see its file in configs/)"
            ) from error
        if unexpected := _UNEXPECTED.search(str(error.__cause__).replace("Unexpected", "unexpected")):
            where = re.search(r"full_key: (.*)", str(error))
            key = f"{where[1]}.{unexpected[1]}" if where else unexpected[1]
            raise ConfigError(f"unknown key '{key}': what its _target_ builds takes no such argument") from error
        raise


def completed(config: Any, changes: Collection[str] = ()) -> Any:
    """``config`` with what its nodes leave out although their targets need it, where the files say one thing only.

    The numbers of what is built live in the files: ``{_target_: hmu.metrics.diversity.Diversity}`` has those of
    ``configs/metric/diversity.yaml``. Of a target whose files differ a private file (``recipe/_default.yaml``) decides,
    else the one that bears its module's name (``backbone/salad.yaml``); without one each number has to be given.

    Args:
        changes: names of arguments that the caller gives to the outermost node.
    """
    if not isinstance(config, DictConfig):
        return config
    whole: Any = None
    for path, call in _calls(OmegaConf.to_container(config, throw_on_missing=False)):
        if "_target_" not in call or call.get("_partial_"):
            continue
        for name in _needed(str(call["_target_"])) - set(call) - (set() if path else set(changes)):
            values = _values(tuple(tree()), str(call["_target_"]), name)
            if values and all(value == values[0] for value in values):
                whole = config.copy() if whole is None else whole
                node = OmegaConf.select(whole, ".".join(path)) if path else whole
                with open_dict(node):
                    node[name] = values[0]
    return config if whole is None else whole


def _needed(target: str) -> set[str]:
    """Arguments without a default; empty where nothing tells, or there is no such thing."""
    try:
        parameters = inspect.signature(get_object(target)).parameters.values()
    except (InstantiationException, ImportError, AttributeError, TypeError, ValueError):
        return set()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name for p in parameters if p.kind in kinds and p.default is p.empty}


@cache
def _values(folders: tuple[Path, ...], target: str, name: str) -> list[Any]:
    """What the files of the first folder that names ``target`` give its argument ``name``."""
    for folder in folders:
        files = [path for path in sorted(folder.rglob("*.yaml")) if target in read_text(path, ConfigError)]
        private = [path for path in files if path.name.startswith("_")]
        namesake = [path for path in files if path.stem in target.split(".")[1:]]
        for some in (private, namesake, files):
            calls = [call for path in some for _, call in _calls(_merged(path)) if call.get("_target_") == target]
            if values := [call[name] for call in calls if name in call]:
                return values
    return []


def _merged(path: Path) -> dict[str, Any]:
    """A file over the files of its own folder that it takes in."""
    own = _content(path)
    bases = [path.with_name(f"{entry}.yaml") for entry in own.get("defaults", ()) if isinstance(entry, str)]
    below = [_merged(base) for base in bases if base.is_file()]
    return {key: value for content in (*below, own) for key, value in content.items()}


def get_class(target: str) -> type:
    """The class that a composed configuration names."""
    return hydra.utils.get_class(target)


def get_object(target: str) -> Any:
    """The class or function that a composed configuration names."""
    return hydra.utils.get_object(target)


def built_class(target: str) -> type | None:
    """The class of what a target builds: itself, or what its annotation promises; None where nothing tells."""
    thing = get_object(target)
    try:
        kind = thing if isinstance(thing, type) else get_type_hints(thing).get("return")
    except NameError:  # annotated with a name that exists for type checkers only
        return None
    return kind if isinstance(kind, type) else None


def check_received(
    node: Any,
    place: str,
    source: Path,
    given: Collection[str] = (),
    trust: str | Collection[str] | None = None,
    error: type[HmuError] = CheckpointError,
    remedy: str = "Give {group}=… yourself, or, if you trust its author, add trust=<its folder>",
) -> None:
    """Refuse a received node that would call what the configuration tree does not name for that very place.

    Args:
        node: plain values; place: where they stand in a composed configuration, ``suite.metrics``; source: their file.
        given: places that the command line gives: what stands there is the user's own.
        trust: folders whose files may call anything (``trust=`` on the command line).
        error: what to raise; remedy: what the user can do.

    Raises:
        error: one line that names the place and the target, and how to trust the file.
    """
    folders = [trust] if isinstance(trust, str) else list(trust or ())
    if any(source.resolve().is_relative_to(Path(folder).expanduser().resolve()) for folder in folders):
        return
    own = {tuple(name.split(".")) for name in given}
    for inside, call in _calls(node):
        path = (*place.split("."), *inside)
        where = ".".join(path)
        if own & {(*path, "_target_"), *(path[: n + 1] for n in range(len(path)))}:  # a key may hold dots itself
            continue
        if not _named(path, call):
            what = " ".join(f"{key}={shown(call[key])}" for key in CALLS if key in call)
            raise error(
                f"{source}: '{where}' calls {shown(what, 100)}, which configs/{path[0]} does not name there: refused. "
                + remedy.format(group=path[0])
            )


def check_plain(node: Any, source: Path, error: type[HmuError] = CheckpointError) -> None:
    """Refuse ``${…}`` in received values: it would read this machine's environment, or more.

    Raises:
        error: one line that names the place.
    """
    for path, value in walk(node):
        for text in (*path[-1:], value):
            if isinstance(text, str) and "${" in text:
                raise error(
                    f"{source}: '{shown('.'.join(path), 80)}' holds {shown(text)}: received files are plain values, "
                    "nothing in them is looked up; write the value itself"
                )


def _calls(node: Any) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every mapping at or below ``node`` that tells Hydra to call something, with its place."""
    for path, value in walk(node):
        if isinstance(value, Mapping) and not value.keys().isdisjoint(CALLS):
            yield path, value


# -- what the tree names ----------------------------------------------------------------------------------------------
def _named(place: Place, call: Mapping[str, Any]) -> bool:
    """Whether any file of the tree, as any script composes it, makes this very call at ``place``.

    Groups are looked through, each with ``place`` counted from where it stands (None: that is not inside of it).
    """
    folders = tuple(tree())
    groups: list[tuple[str, Place | None]] = [("", place)]  # as a script composes it
    groups.append((place[0], place[1:]))  # as a tool reads it (``configs/bvh_mapping``)
    for group, inside in groups:  # those that they take in join the list
        for path, text in _texts(folders, group).items():
            if "defaults:" not in text and str(call.get("_target_")) not in text:
                continue
            at, content = place if _GLOBAL.search(text) else inside, _content(path)
            if at is not None and _agree(call, dict(walk(content)).get(at)):
                return True
            for other, base in _mounts(content.get("defaults"), group):
                rest = at[len(base) :] if at is not None and at[: len(base)] == base else None
                if (other, rest) not in groups:
                    groups.append((other, rest))
    return False


def _mounts(defaults: Any, home: str) -> Iterator[tuple[str, Place]]:
    """The groups that a file's defaults list takes in, each with its place inside the file."""
    for entry in defaults if isinstance(defaults, list) else []:
        for key in entry if isinstance(entry, Mapping) else ():
            group, _, package = str(key).removeprefix("optional ").removeprefix("override ").strip().partition("@")
            absolute = group.startswith("/")
            base = tuple((package or group.strip("/").replace("/", ".")).split("."))
            path = group.strip("/") if absolute or not home else f"{home}/{group}"
            yield path, () if package == "_here_" else base


def _agree(call: Mapping[str, Any], node: Any) -> bool:
    return isinstance(node, Mapping) and "_target_" in node and all(call.get(k) == node.get(k) for k in CALLS)


@cache
def _texts(folders: tuple[Path, ...], group: str) -> dict[Path, str]:
    """The files of a group in all folders of the tree, those of its sub-folders too."""
    files = "**/*.yaml" if group else "*.yaml"
    return {path: read_text(path, ConfigError) for folder in folders for path in sorted((folder / group).glob(files))}


@cache
def _content(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path, ConfigError)
    return content if isinstance(content, Mapping) else {}
