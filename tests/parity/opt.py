"""Parity of the ``opt.txt`` reader: single values with their types, and whole files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hmu.errors import CheckpointError
from tests.parity.case import read_json
from tests.parity.checks import Check, exact, unchecked
from tests.parity.upstream_opt import parse_upstream, read_upstream

_INDEX = "expected.json"


def _typed(value: Any) -> tuple[str, str]:
    # repr, so that nan equals itself and 1 differs from 1.0 and True
    return repr(value), type(value).__name__


def _read_value(text: str) -> tuple[str, str]:
    try:
        return _typed(parse_upstream(text))
    except ValueError as error:
        return "error", type(error).__name__


def _read_file(path: Path, overrides: dict[str, Any]) -> Any:
    try:
        return {key: _typed(value) for key, value in read_upstream(path, **overrides).items()}
    except CheckpointError as error:
        return "error", type(error.__cause__).__name__


def _expected(entry: dict[str, Any]) -> tuple[str, str]:
    return ("error", entry["error"]) if "error" in entry else (repr(entry["value"]), entry["type"])


def check_opt(folder: Path) -> Iterator[Check]:
    """Every value and every file of ``expected.json``; a file without an expectation, or the reverse, fails."""
    expected = read_json(folder / _INDEX)
    for section in sorted(set(expected) - {"values", "whole_files"}):
        yield unchecked(f"section '{section}'", "unknown")
    for text, entry in expected.get("values", {}).items():
        yield exact(f"value {text!r}", _read_value(text), _expected(entry))
    files = expected.get("whole_files", {})
    for name, entry in files.items():
        result = entry["result"]
        wanted: Any = _expected(result) if "error" in result else {k: _expected(v) for k, v in result["ok"].items()}
        ours = _read_file(folder / name, entry.get("kwargs", {})) if (folder / name).is_file() else "file is missing"
        yield exact(f"file {name}", ours, wanted)
    for path in sorted(folder.iterdir()):
        if path.name != _INDEX and path.name not in files and path.suffix != ".md":
            yield unchecked(f"'{path.name}'", "without an expectation")


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"opt": check_opt}
