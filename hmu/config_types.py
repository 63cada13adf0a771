"""Whether the values of a configuration fit the annotations of what they become."""

from __future__ import annotations

import ast
import dataclasses
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hmu.errors import ConfigError, shown
from hmu.values import Keys, declared, named

_WORDS = {"int": "a whole number", "float": "a number (not nan or inf)", "bool": "true or false", "str": "text"}
_LISTS = {"Iterable", "Sequence", "list", "tuple"}
_MAPPINGS = {"Mapping", "dict"}
_BOUND = re.compile(r"(>=|>|<=|<) *([\d.e+-]+)")
_BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    ">=": ("at least", operator.ge),
    ">": ("above", operator.gt),
    "<=": ("at most", operator.le),
    "<": ("below", operator.lt),
}


def keys_misfit(config: DictConfig, keys: type[Keys], prefix: str = "") -> str | None:
    """As :func:`misfit`, of all declared keys of a node; a key that is not there is a misfit too."""
    for key, hint in declared(keys).items():
        name = f"{prefix}{key}"
        node = config._get_node(key, validate_access=False)
        if node is None:
            return f"no value for {name}: it was taken out of the configuration; give {name}=…"
        assert isinstance(node, Node)
        if isinstance(hint, ast.expr):
            wrong = misfit(name, node, hint)
        elif isinstance(node, DictConfig) and not node._is_none():
            wrong = keys_misfit(node, hint, f"{name}.")
        else:
            wrong = f"{name}={_value(node)}: expected single values, {name}.{next(iter(declared(hint)))}=… and so on"
        if wrong:
            return wrong
    return None


def misfit(key: str, node: Node, hint: ast.expr) -> str | None:
    """What is wrong with a value, in one line; None if nothing is, or if that cannot be told.

    Plain types, their unions, lists and mappings of them, numbers with bounds (``Annotated[int, ">= 1"]``), text that
    names something (``Annotated[str, "a folder"]``: not empty) and the names of :mod:`hmu.values` are looked at.
    Values that are still to be built (``_target_``) or filled in (``???``) fit whatever is asked for; of those taken
    from elsewhere (``${…}``) the other value counts, where it can be told.

    Args:
        key: names the value in the message, ``suite.limits``; node: holds it.
        hint: the annotation of the argument, as in its source.
    """
    source, options = _source(node), list(_options(hint))
    if source is None or source._is_missing() or (isinstance(source, DictConfig) and "_target_" in source):
        return None
    wrong = [_against(key, source, option) for option in options]
    if None in wrong:
        return None
    inside = [message for message in wrong if message and not message.startswith(f"{key}=")]
    expected = " or ".join(words(option) for option in options)
    return inside[0] if inside else f"{key}={_value(source)}: expected {expected}"


def check_fields(thing: Any, place: str) -> None:
    """Refuse values of a dataclass that do not fit their annotations, as :func:`misfit` does on a command line.

    Args:
        thing: built by hand or from a configuration; its module postpones annotations, so that they are text.
        place: what the messages call it, ``method``.

    Raises:
        ConfigError: naming the first such key.
    """
    for field in dataclasses.fields(thing):
        if field.init and isinstance(field.type, str):
            values = OmegaConf.create({field.name: getattr(thing, field.name)}, flags={"allow_objects": True})
            node = values._get_node(field.name)
            assert isinstance(node, Node)
            wrong = misfit(f"{place}.{field.name}", node, ast.parse(field.type, mode="eval").body)
            if wrong:
                raise ConfigError(wrong)


def _source(node: Node) -> Node | None:
    """The node, or the one that it takes its value from; None where that cannot be told yet."""
    if not node._is_interpolation():
        return node
    try:
        return node._dereference_node() if node._get_parent() is not None else None
    except OmegaConfBaseException:  # a resolver that only works in a job
        return None


def _value(node: Node) -> str:
    value = OmegaConf.to_container(node) if isinstance(node, (DictConfig, ListConfig)) else node._value()
    return "null" if value is None else shown(value)


def words(hint: ast.expr) -> str:
    """An annotation as a person says it: ``[text, …] or null`` of ``Sequence[str] | None``."""
    if isinstance(hint, ast.Constant):
        return "null" if hint.value is None else str(hint.value)
    name, parts = _taken_apart(hint)
    if name == "Literal":
        *first, last = map(words, parts)
        return f"{', '.join(first)} or {last}" if first else last
    if name == "Annotated":
        return _bounded(words(parts[0]), parts[1])
    if name in _LISTS:
        return f"a list [{' or '.join(map(words, _options(parts[0])))}, …]" if parts else "a list"
    if name in _MAPPINGS:
        return f"a mapping {{name: {' or '.join(map(words, _options(parts[-1])))}, …}}" if parts else "a mapping"
    return _WORDS.get(name, name)


def _bounded(kind: str, hint: ast.expr) -> str:
    """``0.5 to 2.5 metres``, ``a whole number, at least 1``, or the words that stand for bounds."""
    limits, text = _limits(hint), words(hint)
    unit = _BOUND.sub("", text).strip(" ,")
    if [sign for sign, _ in limits] == [">=", "<="] and kind == _WORDS["float"]:
        return f"{limits[0][1]:.15g} to {limits[1][1]:.15g} {unit}".strip()
    bounds = " and ".join(f"{_BOUNDS[sign][0]} {bound:.15g}" for sign, bound in limits)
    return f"{kind}, {bounds} {unit}".strip() if bounds else text


def takes_text(hint: ast.expr | None) -> bool:
    """Whether an annotation lets any text through; text in lists does not count."""
    return hint is not None and any(_plain_name(option) == "str" for option in _options(hint))


def takes_lists(hint: ast.expr | None) -> bool:
    """Whether an annotation lets a list through."""
    return hint is not None and any(_taken_apart(option)[0] in _LISTS for option in _options(hint))


def _plain_name(hint: ast.expr) -> str:
    """The name of a type, or of what ``Annotated`` bounds."""
    name, parts = _taken_apart(hint)
    return _plain_name(parts[0]) if name == "Annotated" else name


def _options(hint: ast.expr) -> Iterator[ast.expr]:
    """The parts of a union; of anything else, itself. Names of :mod:`hmu.values` stand for what they name."""
    if isinstance(hint, ast.BinOp):
        yield from _options(hint.left)
        yield from _options(hint.right)
    elif isinstance(hint, ast.Constant) and isinstance(hint.value, str):  # a quoted annotation
        yield from _options(ast.parse(hint.value, mode="eval").body)
    elif isinstance(hint, ast.Name) and hint.id in named():
        yield from _options(named()[hint.id])
    else:
        yield hint


def _taken_apart(hint: ast.expr) -> tuple[str, list[ast.expr]]:
    """Name and arguments of ``Mapping[str, int]``."""
    if isinstance(hint, ast.Subscript):
        inside = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        return ast.unparse(hint.value), inside
    return ast.unparse(hint), []


def _limits(hint: ast.expr) -> list[tuple[str, float]]:
    """Signs and bounds of ``">= 0, < 10"``; none of a text that says in words what a name is."""
    text = str(hint.value) if isinstance(hint, ast.Constant) else ""
    return [(sign, float(bound)) for sign, bound in _BOUND.findall(text)]


def _against(key: str, node: Node, hint: ast.expr) -> str | None:
    """As :func:`misfit`, for an annotation that is no union; ``key=`` alone where the value itself is the trouble."""
    wrong = f"{key}="
    if isinstance(hint, ast.Constant):  # None
        return None if node._is_none() else wrong
    name, parts = _taken_apart(hint)
    if name in _LISTS or name in _MAPPINGS:
        kind: type[Node] = ListConfig if name in _LISTS else DictConfig
        if not isinstance(node, kind) or node._is_none():
            return wrong
        return _inside(key, node, parts[-1 if name in _MAPPINGS else 0]) if parts else None
    value = None if isinstance(node, (DictConfig, ListConfig)) else node._value()
    if name == "Literal":
        equal = any(isinstance(p, ast.Constant) and type(p.value) is type(value) and p.value == value for p in parts)
        return None if equal else wrong  # 1 is not true
    if name == "Annotated":
        limits, trouble = _limits(parts[1]), _against(key, node, parts[0])
        fits = all(_BOUNDS[sign][1](value, bound) for sign, bound in limits) if limits and not trouble else value  # type: ignore[arg-type]
        return trouble or (None if fits else wrong)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    known: Mapping[str, bool] = {
        "bool": isinstance(value, bool),
        "float": number and math.isfinite(value),  # type: ignore[arg-type]
        "int": number and isinstance(value, int),
        "str": isinstance(value, str),
    }
    return None if known.get(name, True) else wrong


def _inside(key: str, node: Node, hint: ast.expr) -> str | None:
    """The first misfit among the values of a list or a mapping."""
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)  # type: ignore[call-overload]
    messages = (misfit(f"{key}.{k}", node._get_node(k), hint) for k in keys)  # type: ignore[attr-defined]
    return next(filter(None, messages), None)
