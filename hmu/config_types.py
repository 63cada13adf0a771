"""Whether values fit the annotations of what they become, said in one line that names the key."""

from __future__ import annotations

import math
import operator
import re
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, ListConfig, Node
from omegaconf.errors import OmegaConfBaseException

from hmu.errors import shown
from hmu.values import Keys, Text, declared, is_nested

_WORDS = {
    NoneType: "null",
    int: "a whole number",
    float: "a number (not nan or inf)",
    bool: "true or false",
    str: "text",
}
_LISTS = (abc.Iterable, abc.Sequence, list, tuple)
_MAPPINGS = (abc.Mapping, dict)
_BOUND = re.compile(r"(>=|>|<=|<) *([\d.e+-]+)")
_BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    ">=": ("at least", operator.ge),
    ">": ("above", operator.gt),
    "<=": ("at most", operator.le),
    "<": ("below", operator.lt),
}


class _Unknown:
    """A value that is still to be built or filled in, or that cannot be told yet: it fits whatever is asked for."""

    def __repr__(self) -> str:
        return "…"


def keys_misfit(config: DictConfig, keys: type[Keys], prefix: str = "") -> str | None:
    """As :func:`misfit`, of all declared keys of a node; a key that is not there is a misfit too."""
    for key, hint in declared(keys).items():
        name = f"{prefix}{key}"
        node: Any = config._get_node(key, validate_access=False)
        if node is None:
            return f"no value for {name}: it was taken out of the configuration; give {name}=…"
        if not is_nested(hint):
            wrong = misfit(name, node, hint)
        elif isinstance(node, DictConfig) and not node._is_none():
            wrong = keys_misfit(node, hint, f"{name}.")
        else:
            first = next(iter(declared(hint)))
            wrong = f"{name}={_said(plain(node))}: expected single values, {name}.{first}=… and so on"
        if wrong:
            return wrong
    return None


def misfit(key: str, value: Any, hint: Any) -> str | None:
    """What is wrong with a value, in one line; None if nothing is, or if that cannot be told.

    Plain types, their unions, lists and mappings of them, numbers with bounds (``Annotated[int, ">= 1"]``), text that
    names something (``Annotated[str, "a folder"]``: not empty) are looked at. Values that are still to be built
    (``_target_``) or filled in (``???``) fit whatever is asked for; of those taken from elsewhere (``${…}``) the other
    value counts, where it can be told.

    Args:
        key: names the value in the message, ``suite.limits``; value: itself, or a node that holds it.
        hint: an annotation.
    """
    value = plain(value)
    if _fits(value, hint):
        return None
    for option in _options(hint):
        for name, inner, asked in _elements(value, option) or ():
            if wrong := misfit(f"{key}.{name}", inner, asked):
                return wrong
    return f"{key}={_said(value)}: expected {words(hint)}"


def plain(node: Any) -> Any:
    """The values of a node, without nodes: those that cannot be told fit everything."""
    if isinstance(node, Node) and node._is_interpolation():
        try:
            node = node._dereference_node() if node._get_parent() is not None else _Unknown()
        except OmegaConfBaseException:  # a resolver that only works in a job
            return _Unknown()
    if not isinstance(node, Node):
        return node
    if node._is_missing() or (isinstance(node, DictConfig) and "_target_" in node):
        return _Unknown()
    if node._is_none() or not isinstance(node, (DictConfig, ListConfig)):
        return node._value()
    if isinstance(node, ListConfig):
        return [plain(node._get_node(number)) for number in range(len(node))]
    return {key: plain(node._get_node(key)) for key in node}


def _said(value: Any) -> str:
    return "null" if value is None else shown(value)


def words(hint: Any) -> str:
    """An annotation as a person says it: ``[text, …] or null`` of ``Sequence[str] | None``."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(map(words, parts))
    if kind is Literal:
        *first, last = map(str, parts)
        return f"{', '.join(first)} or {last}" if first else last
    if kind is Annotated:
        return _bounded(words(parts[0]), parts[1])
    if kind in _LISTS:
        return f"a list [{words(parts[0])}, …]" if parts else "a list"
    if kind in _MAPPINGS:
        return f"a mapping {{name: {words(parts[-1])}, …}}" if parts else "a mapping"
    return _WORDS.get(kind) or str(getattr(kind, "__name__", kind))


def _bounded(kind: str, text: str) -> str:
    """``0.5 to 2.5 metres``, ``a whole number, at least 1``, or the words that stand for bounds."""
    limits, unit = _limits(text), _BOUND.sub("", text).strip(" ,")
    if [sign for sign, _ in limits] == [">=", "<="] and kind == _WORDS[float]:
        return f"{limits[0][1]:.15g} to {limits[1][1]:.15g} {unit}".strip()
    bounds = " and ".join(f"{_BOUNDS[sign][0]} {bound:.15g}" for sign, bound in limits)
    return f"{kind}, {bounds} {unit}".strip() if bounds else text or kind


def takes_text(hint: Any) -> bool:
    """Whether an annotation lets any text through; text in lists does not count."""
    bare = (get_args(option)[0] if get_origin(option) is Annotated else option for option in _options(hint))
    return str in bare


def takes_lists(hint: Any) -> bool:
    """Whether an annotation lets a list through."""
    return any((get_origin(option) or option) in _LISTS for option in _options(hint))


def takes_literal_text(hint: Any) -> bool:
    """Whether an annotation names :data:`hmu.values.Text`, in lists too."""
    return hint == Text or any(map(takes_literal_text, get_args(hint)))


def _options(hint: Any) -> tuple[Any, ...]:
    """The parts of a union; of anything else, itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _limits(text: str) -> list[tuple[str, float]]:
    """Signs and bounds of ``">= 0, < 10"``; none of a text that says in words what a name is."""
    return [(sign, float(bound)) for sign, bound in _BOUND.findall(text)]


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if isinstance(value, _Unknown):
        return True
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind in _LISTS or kind in _MAPPINGS:
        elements = _elements(value, hint)
        return elements is not None and all(_fits(inner, asked) for _, inner, asked in elements)
    if kind is Literal:
        return any(type(part) is type(value) and part == value for part in parts)  # 1 is not true
    if kind is Annotated:
        limits = _limits(parts[1])
        if not _fits(value, parts[0]) or (not value and parts[1] and not limits):  # what words name has a name
            return False
        return all(_BOUNDS[sign][1](value, bound) for sign, bound in limits)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    known: Mapping[Any, bool] = {
        NoneType: value is None,
        bool: isinstance(value, bool),
        float: number and math.isfinite(value),
        int: number and isinstance(value, int),
        str: isinstance(value, str),
    }
    return known.get(kind, True)


def _elements(value: Any, hint: Any) -> Iterator[tuple[Any, Any, Any]] | None:
    """Keys and values of a list or mapping, each with its annotation; None of what is not what ``hint`` asks for."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in _LISTS and isinstance(value, (list, tuple)):
        return ((number, inner, parts[0] if parts else Any) for number, inner in enumerate(value))
    if kind in _MAPPINGS and isinstance(value, Mapping):
        return ((key, inner, parts[-1] if parts else Any) for key, inner in value.items())
    return None
