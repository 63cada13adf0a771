"""What the targets of a configuration take, read from their source so that nothing heavy is imported."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hmu.errors import ConfigError
from hmu.values import annotated

Arguments = dict[str, "ast.expr | None"]  #: annotations by name; the name ``**`` where any are taken
_ROOT = Path(__file__).resolve().parents[1]


def is_ours(target: str) -> bool:
    """Whether a dotted target lies in this package."""
    return target.startswith("hmu.")


@cache
def arguments(target: str) -> Mapping[str, Any] | None:
    """Names of the arguments of a dotted target with their annotations, and ``**`` where it takes any others too.

    Annotations are those of our own code; of other packages' arguments they are None. None: nothing is known.

    Raises:
        ConfigError: when there is no such function or class.
    """
    own = _from_source(target) if is_ours(target) else None
    if own is not None:
        return {name: None if hint is None else annotated(ast.unparse(hint)) for name, hint in own.items()}
    try:
        parameters = inspect.signature(_import(target)).parameters.values()  # type: ignore[arg-type]
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_ '{target}' does not exist ({error})") from None
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    # our modules postpone their annotations, so that they are text here
    texts = {p.name: p.annotation if is_ours(target) else None for p in parameters}
    return {name: annotated(text) if isinstance(text, str) else None for name, text in texts.items()}


def _import(target: str) -> object:
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name is not None and not ".".join(parts[:cut]).startswith(error.name):
                raise
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise ImportError(f"no module for '{target}'")


def _from_source(target: str) -> Arguments | None:
    """Arguments read from the syntax tree; None when they cannot be told without importing."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        base = _ROOT.joinpath(*parts[:cut])
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if file.is_file():
            return _in_module(_tree(file), parts[cut:])
    return None


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _in_module(module: ast.Module, names: list[str]) -> Arguments | None:
    """Of what a module defines, or imports from another of our modules."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == names[0] and len(names) == 1:
            return _in_function(node, module)
        if isinstance(node, ast.ClassDef) and node.name == names[0]:
            return _in_class(node, module, names[1:])
        if isinstance(node, ast.ImportFrom) and not node.level and is_ours(f"{node.module}."):
            alias = next((a for a in node.names if (a.asname or a.name) == names[0]), None)
            if alias is not None:
                return _from_source(".".join([str(node.module), alias.name, *names[1:]]))
    return None


def _in_function(node: ast.FunctionDef, module: ast.Module) -> Arguments | None:
    """A function's arguments; under ``@builds(Model)`` those of ``Model`` stand for its ``**options``."""
    own = _signature(node, method=False)
    marks = [d for d in node.decorator_list if isinstance(d, ast.Call) and ast.unparse(d.func).endswith("builds")]
    for mark in marks:
        built = _in_module(module, ast.unparse(mark.args[0]).split("."))
        if built is None:
            return None
        own = {**built, **{name: hint for name, hint in own.items() if name != "**"}}
    return own


def _in_class(node: ast.ClassDef, module: ast.Module, names: list[str]) -> Arguments | None:
    methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
    if names:
        return _signature(methods[names[0]], method=True) if names[0] in methods and len(names) == 1 else None
    own = _signature(methods["__init__"], method=True) if "__init__" in methods else None
    if own is not None and "**" not in own:
        return own
    named = [ast.unparse(base).partition("[")[0] for base in node.bases]
    bases = [_in_module(module, name.split(".")) for name in named if name != "Generic"]
    if None in bases:
        return own
    taken: Arguments = {}
    for base in reversed(bases):
        taken |= base or {}
    if own is not None:  # ``**shared`` are its bases' arguments
        return taken | {name: hint for name, hint in own.items() if name != "**"}
    if any(ast.unparse(d).split("(")[0] in ("dataclass", "dataclasses.dataclass") for d in node.decorator_list):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        return taken | {n.target.id: n.annotation for n in fields if not _no_argument(n)}  # type: ignore[union-attr]
    return taken if bases else {}


def _no_argument(field: ast.AnnAssign) -> bool:
    """A class variable, or ``field(init=False)``."""
    return "ClassVar" in ast.unparse(field.annotation) or (
        isinstance(field.value, ast.Call) and any(k.arg == "init" for k in field.value.keywords)
    )


def _signature(node: ast.FunctionDef, *, method: bool) -> Arguments:
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    positional = node.args.posonlyargs + node.args.args
    taken = positional[1:] if method and not static else positional
    named = {a.arg: a.annotation for a in taken + node.args.kwonlyargs}
    return {**named, "**": None} if node.args.kwarg else named
