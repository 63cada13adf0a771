"""Whether the values of a configuration fit the annotations of the arguments that they become."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping

from omegaconf import DictConfig, ListConfig, Node, OmegaConf

#: what the scripts read themselves, by the name that the key has at the top of a configuration
TOP = {
    "batch_size": "int",
    "ckpt": "str",
    "columns": "Sequence[str] | None",
    "device": "str",
    "evaluate": "bool",
    "exclude_self": "bool",
    "forget": "str | None",
    "gallery": "str",
    "keep": "str | None",
    "match": "Literal['word', 'substring'] | None",
    "records": "str",
    "reference": "str | None",
    "runs": "str | Sequence[str]",
    "scale": "float",
    "seeds": "bool",
    "top": "int",
}
_WORDS = {"int": "a whole number", "float": "a number (not nan or inf)", "bool": "true or false", "str": "text"}
_LISTS = {"Iterable", "Sequence", "list", "tuple"}
_MAPPINGS = {"Mapping", "dict"}


def top_misfit(config: DictConfig) -> str | None:
    """As :func:`misfit`, of the keys at the top of ``config`` that are in :data:`TOP`."""
    known = [str(key) for key in config if key in TOP]
    told = (misfit(key, config._get_node(key), ast.parse(TOP[key], mode="eval").body) for key in known)  # type: ignore[arg-type]
    return next((message for message in told if message), None)


def misfit(key: str, node: Node, hint: ast.expr) -> str | None:
    """What is wrong with a value, in one line; None if nothing is, or if that cannot be told.

    Plain types, their unions, lists and mappings of them are looked at. Values that are still to be built
    (``_target_``), filled in (``???``) or taken from elsewhere (``${…}``) fit whatever is asked for.

    Args:
        key: names the value in the message, ``suite.limits``; node: holds it.
        hint: the annotation of the argument, as in its source.
    """
    if node._is_missing() or node._is_interpolation() or (isinstance(node, DictConfig) and "_target_" in node):
        return None
    options = list(_options(hint))
    told = [_against(key, node, option) for option in options]
    if None in told:
        return None
    inside = [message for message in told if message and not message.startswith(f"{key}=")]
    shown = OmegaConf.to_container(node) if isinstance(node, (DictConfig, ListConfig)) else node._value()
    expected = " or ".join(words(option) for option in options)
    return inside[0] if inside else f"{key}={'null' if shown is None else shown}: expected {expected}"


def words(hint: ast.expr) -> str:
    """An annotation as a person says it: ``[text, …] or null`` of ``Sequence[str] | None``."""
    if isinstance(hint, ast.Constant):
        return "null" if hint.value is None else str(hint.value)
    name, parts = _taken_apart(hint)
    if name == "Literal":
        return " or ".join(map(words, parts))
    if name in _LISTS:
        return f"a list [{' or '.join(map(words, _options(parts[0])))}, …]" if parts else "a list"
    if name in _MAPPINGS:
        return f"a mapping {{name: {' or '.join(map(words, _options(parts[-1])))}, …}}" if parts else "a mapping"
    return _WORDS.get(name, name)


def _options(hint: ast.expr) -> Iterator[ast.expr]:
    """The parts of a union; of anything else, itself."""
    if isinstance(hint, ast.BinOp):
        yield from _options(hint.left)
        yield from _options(hint.right)
    elif isinstance(hint, ast.Constant) and isinstance(hint.value, str):  # a quoted annotation
        yield from _options(ast.parse(hint.value, mode="eval").body)
    else:
        yield hint


def _taken_apart(hint: ast.expr) -> tuple[str, list[ast.expr]]:
    """Name and arguments of ``Mapping[str, int]``."""
    if isinstance(hint, ast.Subscript):
        inside = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        return ast.unparse(hint.value), inside
    return ast.unparse(hint), []


def _against(key: str, node: Node, hint: ast.expr) -> str | None:
    """As :func:`misfit`, for an annotation that is no union; ``key=`` alone where the value itself is the trouble."""
    wrong = f"{key}="
    if isinstance(hint, ast.Constant):  # None
        return None if node._is_none() else wrong
    name, parts = _taken_apart(hint)
    if name in _LISTS or name in _MAPPINGS:
        wanted: type[Node] = ListConfig if name in _LISTS else DictConfig
        if not isinstance(node, wanted) or node._is_none():
            return wrong
        return _inside(key, node, parts[-1 if name in _MAPPINGS else 0]) if parts else None
    value = None if isinstance(node, (DictConfig, ListConfig)) else node._value()
    if name == "Literal":
        return None if any(isinstance(p, ast.Constant) and p.value == value for p in parts) else wrong
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
    told = (misfit(f"{key}.{k}", node._get_node(k), hint) for k in keys)  # type: ignore[attr-defined]
    return next((message for message in told if message), None)
