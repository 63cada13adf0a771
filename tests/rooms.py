"""How many rooms one opens to follow a path through the code: ``python -m tests.rooms``.

A *room* is a file of ``hmu``. The **ground** does not count: what any reader knows after a day, or need not open to
follow what is computed (:data:`GROUND`: errors, checks of sizes and of files, folders, console, progress). A package's
``__init__.py`` that defines nothing does not count either.

1. *The mathematics of ESD*: ``methods/esd.py`` and the rooms whose names its statements use (:func:`used`). Names in
   annotations alone are read off the signature; ``methods/upstream``, another reading of the paper, is left out.
2. *One metric, from prompts to* ``metrics.json``: the rooms that a value of FID passes through, in order
   (:data:`METRIC`); the test checks that they hang together.
3. *A BAMM checkpoint*: from a folder, ours or the authors', to a loaded model: ``bamm/model.py`` says what is stored,
   ``checkpoints/pretrained.py`` reads our folder, ``bamm/authors.py`` theirs, and the rooms about files and options
   whose names these two use. What a network computes (a room with a ``forward``) need not be read for that.
4. *Adding a metric*: files of code that a new metric needs: its module and its configuration (tested where metrics are
   tested, by a package from outside).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "hmu"

#: modules, or beginnings of them, that need not be opened to follow what is computed
GROUND = (
    "hmu.errors", "hmu.checks", "hmu.values", "hmu.documents", "hmu.console", "hmu.progress", "hmu.phases",
    "hmu.durations", "hmu.bar", "hmu.processes", "hmu.devices", "hmu.folders", "hmu.run", "hmu.build", "hmu.tree",
    "hmu.config", "hmu.overrides", "hmu.moved", "hmu.escaping", "hmu.text", "hmu.checkpoints.safe",
    "hmu.checkpoints.sealed",
)  # fmt: skip
#: what a value of FID passes through, in order
METRIC = (
    "hmu.evaluation.sets",
    "hmu.evaluation.generation",
    "hmu.evaluation.embedding",
    "hmu.evaluation.suite",
    "hmu.evaluation.counting",
    "hmu.metrics.fid",
    "hmu.evaluation.results",
)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports: at its top, inside functions, and for type checkers only."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            known = inside & set(modules())
            named |= known | ({node.module} if len(known) < len(node.names) else set())
    return frozenset(named & set(modules())) - {name}


def circles() -> list[list[str]]:
    """Groups of modules that import each other, inside functions and for type checkers too: Tarjan's components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(imports(name)):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 5000))
    for name in modules():
        if name not in order:
            visit(name)
    return sorted(groups)


def is_ground(name: str) -> bool:
    """Whether a module belongs to the ground."""
    return any(name == ground or name.startswith((f"{ground}.", f"{ground}_")) for ground in GROUND)


def is_empty(name: str) -> bool:
    """Whether a module defines nothing of its own: a package's front."""
    body = ast.parse(modules()[name].read_text(encoding="utf-8")).body
    return not any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)) for node in body)


def rooms(names: Iterable[str]) -> set[str]:
    """Those of some modules that count."""
    return {name for name in names if not is_ground(name) and not is_empty(name)}


def used(name: str) -> set[str]:
    """The modules from which a module takes names that it uses in its statements; annotations do not count."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                origin[alias.asname or alias.name] = inside if inside in modules() else node.module
    hints = {id(part) for node in ast.walk(tree) for hint in _annotations(node) for part in ast.walk(hint)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in hints}
    return {origin[name] for name in names if origin.get(name) in modules()}


def _annotations(node: ast.AST) -> list[ast.expr]:
    hints = (getattr(node, field, None) for field in ("annotation", "returns"))
    return [hint for hint in hints if isinstance(hint, ast.expr)]


def opened(*starts: str) -> set[str]:
    """The rooms ``starts`` and those whose names they use."""
    return rooms({*starts, *(name for start in starts if start in modules() for name in used(start))} & set(modules()))


def esd() -> set[str]:
    """Measure 1."""
    return {name for name in opened("hmu.methods.esd") if not name.startswith("hmu.methods.upstream")}


def metric() -> set[str]:
    """Measure 2."""
    return rooms(METRIC)


def bamm() -> set[str]:
    """Measure 3."""
    reading = opened("hmu.backbones.bamm.authors", "hmu.checkpoints.pretrained")
    networks = {name for name in reading if "    def forward(" in modules()[name].read_text(encoding="utf-8")}
    return (reading - networks) | {"hmu.backbones.bamm.model"}


MEASURES = {"the mathematics of ESD": esd, "one metric": metric, "a BAMM checkpoint": bamm}

if __name__ == "__main__":
    for title, measure in MEASURES.items():
        names = sorted(measure())
        sys.stdout.write(f"{title}: {len(names)}\n" + "".join(f"  {name}\n" for name in names))
