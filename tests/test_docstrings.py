"""Every public thing is documented, and what takes or gives tensors says their shapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SOURCES = sorted((REPOSITORY / "hmu").rglob("*.py"))
#: ``(batch, frames, 3)``, ``(n,)``, ``(…, 4)``; a number has no axes
SHAPE = re.compile(
    r"\((?:[^()]|\([^()]*\))*,(?:[^()]|\([^()]*\))*\)|\bscalars?\b|\bshapes?\b|\bany shape\b", re.IGNORECASE
)
TENSOR = re.compile(r"\b(Tensor|ndarray|NDArray|Floats|Array)\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: ast.Module) -> Iterator[tuple[str, Function, list[ast.ClassDef]]]:
    """Public functions and methods with the classes around them."""

    def below(body: list[ast.stmt], around: list[ast.ClassDef]) -> Iterator[tuple[str, Function, list[ast.ClassDef]]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from below(node.body, [*around, node])
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield ".".join([*(c.name for c in around), node.name]), node, around

    return below(tree.body, [])


def contract() -> set[str]:
    """Verbs whose shapes a base class states: an implementation need not say them again."""
    stated = set()
    for path in SOURCES:
        for _, node, around in public(ast.parse(path.read_text(encoding="utf-8"))):
            if around and SHAPE.search(ast.get_docstring(node) or ""):
                stated.add((around[-1].name, node.name))
    return stated


def tensors(node: Function) -> bool:
    """Whether the signature names a tensor or an array."""
    arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
    notes = [ast.unparse(a.annotation) for a in arguments if a.annotation] + (
        [ast.unparse(node.returns)] if node.returns else []
    )
    return any(TENSOR.search(note) for note in notes)


def bases() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).extend(ast.unparse(b).split("[")[0].split(".")[-1] for b in node.bases)
    return found


BASES, STATED = bases(), contract()


def ancestors(name: str) -> set[str]:
    """Every class above, by name."""
    above, waiting = set[str](), [name]
    while waiting:
        new = set(BASES.get(waiting.pop(), [])) - above
        above |= new
        waiting += new
    return above


def missing(path: Path) -> tuple[list[str], list[str]]:
    undocumented, shapeless = [], []
    for name, node, around in public(ast.parse(path.read_text(encoding="utf-8"))):
        doc = ast.get_docstring(node)
        inherited = bool(around) and any((base, node.name) in STATED for base in ancestors(around[-1].name))
        if doc is None and not inherited:
            undocumented.append(name)
        around_doc = " ".join(ast.get_docstring(c) or "" for c in around)
        if (
            tensors(node)
            and not inherited
            and not SHAPE.search(f"{doc} {around_doc if node.name == 'forward' else ''}")
        ):
            shapeless.append(name)
    return undocumented, shapeless


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_public_functions_are_documented_with_their_shapes(path):
    undocumented, shapeless = missing(path)
    assert not undocumented, f"no docstring: {undocumented}"
    assert not shapeless, f"takes or gives tensors without saying their shapes: {shapeless}"
