"""Parity of the ``opt.txt`` reader: single values with their types, and whole files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmu.errors import CheckpointError
from tests.parity.case import Case
from tests.parity.checks import Checks, exact, unchecked
from tests.parity.kinds import compares, strange
from tests.parity.upstream_opt import parse_upstream, read_upstream


def _typed(value: Any) -> tuple[str, str]:
    # repr, so that nan equals itself and 1 differs from 1.0 and True
    return repr(value), type(value).__name__


def _read_value(text: str) -> tuple[str, str]:
    try:
        return _typed(parse_upstream(text))
    except ValueError as error:
        return "error", type(error).__name__


def _read_file(path: Path, overrides: dict[str, Any]) -> Any:
    if not path.is_file():
        return "file is missing"
    try:
        return {key: _typed(value) for key, value in read_upstream(path, **overrides).items()}
    except CheckpointError as error:
        return "error", type(error.__cause__).__name__


def _expected(entry: dict[str, Any]) -> Any:
    if "ok" in entry:
        return {key: _expected(value) for key, value in entry["ok"].items()}
    return ("error", entry["error"]) if "error" in entry else (repr(entry["value"]), entry["type"])


@compares("opt", known=("*",))
def check_opt(case: Case) -> Checks:
    """Every value and every file of ``expected.json``; a file without an expectation, or the reverse, is noted."""
    for section in sorted(set(case.facts) - {"values", "whole_files"}):
        yield unchecked(f"section '{section}'", "unknown")
    for text, entry in case.facts.get("values", {}).items():
        yield exact(f"value {text!r}", _read_value(text), _expected(entry))
    files = case.facts.get("whole_files", {})
    for name, entry in files.items():
        yield exact(f"file {name}", _read_file(case.folder / name, entry.get("kwargs", {})), _expected(entry["result"]))
    yield from strange(case.folder, "expected.json", *files)
