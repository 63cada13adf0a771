"""What values the keys of a configuration may have: named types, and the declaration of the keys that a script reads.

A script or tool declares every key at the top of its configuration in a class of its own, next to the function that
reads them, and hands it to :func:`hmu.app.main`::

    class Keys(Common):
        prompt: Text | Sequence[Text] | None
        repeats: Count
        gait: Gait           # a nested node: a class of the same kind, in the same module

Bounds are written ``Annotated[float, ">= 0.5, <= 2.5 metres"]``; a text without bounds says what a name is the name of.

The same annotations work for the arguments of anything that a ``_target_`` names: ``rank: Count``. They are read from
the source (:mod:`hmu.config_source`), so that nothing heavy is imported to check a command line.
"""

from __future__ import annotations

import builtins
import typing
from collections import abc
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypeGuard, get_type_hints

Count = Annotated[int, ">= 1"]
Seed = Annotated[int, ">= 0, <= 4294967295"]
Threads = Annotated[int, ">= 1, <= 1024"]
Whole = Annotated[int, ">= 0"]
Positive = Annotated[float, "> 0"]
Weight = Annotated[float, ">= 0"]
Share = Annotated[float, ">= 0, < 1"]
Text = Annotated[str, ""]  #: of any characters, none at all too, taken as it was typed
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


def declared(keys: type[Keys]) -> Mapping[str, Any]:
    """The keys of a declaration, inherited ones first, with their annotations; nested declarations as classes."""
    return get_type_hints(keys, include_extras=True)


def is_nested(hint: object) -> TypeGuard[type[Keys]]:
    """Whether an annotation is a declaration of its own."""
    return isinstance(hint, type) and issubclass(hint, Keys)


def annotation(keys: type[Keys], path: str) -> Any:
    """The annotation of ``gait.speed``; None where nothing is declared for it."""
    here: Any = keys
    for name in path.split("."):
        here = declared(here).get(name) if is_nested(here) else None
    return None if is_nested(here) else here


class _Names(dict[str, Any]):
    """What annotations are made of: types of Python, of typing and of this module; others stand for anything."""

    def __missing__(self, name: str) -> type:
        return type(name, (), {})


_NAMES = _Names({**vars(builtins), **vars(abc), **vars(typing), **globals()})


@cache
def annotated(text: str) -> Any:
    """The annotation that is written ``text``: of our own code, read from its source."""
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"": text}), {}, _NAMES, include_extras=True)[""]
    except (AttributeError, TypeError):  # made of names that nothing is known of (``torch.Tensor``)
        return Any
