"""What values the keys of a configuration may have: named types, and the declaration of the keys that a script reads.

A script or tool declares every key at the top of its configuration in a class of its own, next to the function that
reads them, and hands it to :func:`hmu.app.main`::

    class Keys(Common):
        prompt: Text | Sequence[Text] | None
        repeats: Count
        gait: Gait           # a nested node: a class of the same kind, in the same module

Bounds are written ``Annotated[float, ">= 0.5, <= 2.5 metres"]``; a text without bounds says what a name is the name of.

The same annotations work for the arguments of anything that a ``_target_`` names: ``rank: Count``. They are read as
text (:mod:`hmu.config_types`), so that nothing heavy is imported to check a command line.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

Count = Annotated[int, ">= 1"]
Seed = Annotated[int, ">= 0, <= 4294967295"]
Threads = Annotated[int, ">= 1, <= 1024"]
Whole = Annotated[int, ">= 0"]
Positive = Annotated[float, "> 0"]
Weight = Annotated[float, ">= 0"]
Share = Annotated[float, ">= 0, < 1"]
Text = str  #: of any characters, taken as it was typed
Place = Annotated[str, "the name of a file or folder"]
Device = Annotated[str, "auto, cpu or cuda"]
Variant = Annotated[Literal["default", "upstream", "paper", "ours"], "default or upstream"]  #: see checks.check_variant
Node = Mapping[str, object]  #: a group that was chosen; a ``_target_`` in it says what it takes


class Keys:
    """Base of declarations: one annotation for each key, ``Mapping`` or another such class for nested nodes."""


class Paths(Keys):
    """``configs/paths``."""

    root: Place
    data: Place
    checkpoints: Place
    output: Place
    cache: Place


class Common(Keys):
    """What most tools read."""

    paths: Paths
    dataset: Node


class Run(Common):
    """What every script that makes a run folder reads."""

    backbone: Node
    job: str
    run_name: str
    seed: Seed
    threads: Threads | None


@cache
def named() -> Mapping[str, ast.expr]:
    """The types of this module by their names, as they are written here."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    found = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return {name: value for name, value in found.items() if name[0].isupper()}


def declared(keys: type[Keys]) -> Mapping[str, ast.expr | type[Keys]]:
    """The keys of a declaration, inherited ones first, with their annotations; nested declarations as classes."""
    found: dict[str, ast.expr | type[Keys]] = {}
    for kind in reversed(keys.__mro__):
        for name, text in inspect.get_annotations(kind).items():
            hint: object = vars(sys.modules[kind.__module__]).get(text)
            nested = hint if isinstance(hint, type) and issubclass(hint, Keys) else None
            found[name] = nested or ast.parse(text, mode="eval").body
    return found


def annotation(keys: type[Keys], path: str) -> ast.expr | None:
    """The annotation of ``gait.speed``; None where nothing is declared for it."""
    here: ast.expr | type[Keys] | None = keys
    for name in path.split("."):
        here = declared(here).get(name) if inspect.isclass(here) else None
    return None if inspect.isclass(here) else here
