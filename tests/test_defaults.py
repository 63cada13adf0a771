"""Defaults have one home, the YAML: what a file of ``configs/`` gives has no default in the Python signature.

Allowed is an absence (``None``, ``()``, ``""``, ``False``, ``0``) that equals what every file says. Concepts, data sets
and recipes describe instances: they may leave out what does not apply.
"""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hmu.config import CONFIGS
from hmu.documents import read_yaml

ABSENCES: tuple[Any, ...] = (None, (), "", False, 0)
INSTANCES = ("concept", "dataset", "recipe")
GROUPS = sorted(
    p.name for p in CONFIGS.iterdir() if p.is_dir() and any("_target_" in f.read_text() for f in p.rglob("*.yaml"))
)


@cache
def content(path: Path) -> Mapping[str, Any]:
    """A file with what it takes in from its own folder."""
    found = read_yaml(path) or {}
    merged: dict[str, Any] = {}
    for entry in found.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            base = path.parent / f"{entry}.yaml"
            merged = mixed(merged, content(base)) if base.is_file() else merged
    return mixed(merged, {key: value for key, value in found.items() if key != "defaults"})


def mixed(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = mixed(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every node with a ``_target_``, at any depth."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def signature(target: str) -> Mapping[str, inspect.Parameter]:
    module, _, name = target.rpartition(".")
    found = importlib.import_module(module) if importlib.util.find_spec(module) else None
    if found is None:  # a class method
        module, _, kind = module.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
    built = getattr(found, name)
    made_by = built.__init__ if isinstance(built, type) else built
    ours = made_by.__module__.startswith(("hmu.", __name__)) if hasattr(made_by, "__module__") else True
    return inspect.signature(built).parameters if ours else {}  # a signature that another package wrote


def given(group: str) -> dict[tuple[str, str], list[Any]]:
    """By target of ours and argument, every value that the group's files give."""
    values: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for path in sorted((CONFIGS / group).rglob("[!_]*.yaml")):
        for node in nodes(content(path)):
            target = str(node["_target_"])
            for key, value in node.items() if target.startswith("hmu.") else ():
                if not key.startswith("_"):
                    values[target, key].append(value)
    return values


def is_absence(value: Any) -> bool:
    empty = any(type(value) is type(absence) and value == absence for absence in (*ABSENCES, 0.0))
    return empty or repr(value) == "<factory>"  # of a dataclass: an empty list or mapping


def second_homes(group: str) -> list[str]:
    """Arguments whose default stands in Python although files give it, one line each."""
    wrong = []
    for (target, key), values in given(group).items():
        parameter = signature(target).get(key)
        if parameter is None or parameter.default is inspect.Parameter.empty:
            continue
        default = parameter.default
        plain = [tuple(value) if isinstance(value, list) else value for value in values]
        agrees = all(type(value) is type(default) and value == default for value in plain)
        if not is_absence(default) or not (agrees or group in INSTANCES):
            wrong.append(f"{target}.{key}: {default!r} in Python, files say {sorted(map(str, set(map(repr, plain))))}")
    return wrong


@pytest.mark.parametrize("group", GROUPS)
def test_numbers_stand_in_the_files_alone(group):
    assert not (wrong := second_homes(group)), "\n".join(wrong)


def test_the_rule_sees_a_second_home(monkeypatch):
    """A default that a file gives too is found, whether it agrees or not; an absence that agrees is none."""
    target = f"{__name__}.several"
    monkeypatch.setattr(
        f"{__name__}.given",
        lambda group: {(target, key): [8] for key in ("equal", "other")} | {(target, "none"): [None]},
    )
    assert [line.split(":")[0].rpartition(".")[2] for line in second_homes("method")] == ["equal", "other"]


def several(equal: int = 8, other: int = 3, none: object = None) -> None:
    """Arguments for the test above."""
