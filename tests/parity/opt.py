"""Parity of the ``opt.txt`` as the authors' reader (MoMask, HMU) gives it: values, their types, and whole files.

Its traps are included: ``1e-06`` stays text, many keys are overwritten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hmu.checkpoints.opt import FOOTER, HEADER, opt_lines
from hmu.errors import CheckpointError, shown
from tests.parity.case import Case
from tests.parity.checks import Checks, exact, unchecked
from tests.parity.kinds import compares, strange

_UPSTREAM_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]+")

# What the authors' reader writes over the file's values, by dataset.
_DATASET_FACTS: dict[str, dict[str, Any]] = {
    "HumanML3D": {"data_root": "./dataset/HumanML3D/", "joints_num": 22, "dim_pose": 263},
    "kit": {"data_root": "./dataset/KIT-ML/", "joints_num": 21, "dim_pose": 251},
    "Motion-X": {"data_root": "./dataset/Motion-X/", "joints_num": 22, "dim_pose": 263},
}


def parse_upstream(text: str) -> Any:
    """One value as the authors' reader gives it; raises ``ValueError`` where it does."""
    if text in ("True", "False"):
        return text == "True"
    # Signs are taken off for the test only, all minus signs before all plus signs; the conversion sees them again.
    unsigned = text.strip().lstrip("-").lstrip("+")
    if _UPSTREAM_FLOAT.fullmatch(unsigned):
        return float(text)
    if unsigned.isdigit():
        return int(text)
    return text


def read_upstream(path: Path, **overrides: Any) -> dict[str, Any]:
    """The options of a file and the keys that the authors' reader derives (``save_root``, ``dim_pose`` ...); ``device``
    is ``"cpu"`` unless overridden. The ``__cause__`` of a :class:`CheckpointError` is what the authors' reader raises.
    """
    lines = opt_lines(path)
    options: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() in (HEADER, FOOTER) or (number == len(lines) and line == ""):
            continue
        try:
            key, value = line.split(": ")
            options[key] = parse_upstream(value)
        except ValueError as error:
            raise CheckpointError(f"{path}, line {number}: expected 'key: value', found '{shown(line)}'") from error
    _derive_upstream(path, options, overrides.get("device", "cpu"))
    return options | overrides


def _derive_upstream(path: Path, options: dict[str, Any], device: Any) -> None:
    """Overwrite in place what the authors' reader overwrites, in its order (paths come before the renaming of t2m)."""
    options["which_epoch"] = "finest"
    for key in ("checkpoints_dir", "dataset_name", "name"):
        if key not in options:
            raise CheckpointError(f"{path}: key '{key}' is missing; add the line '{key}: ...'") from AttributeError(key)
    root = "/".join(str(options[key]).rstrip("/") for key in ("checkpoints_dir", "dataset_name", "name"))
    options.update(save_root=root, model_dir=f"{root}/model", meta_dir=f"{root}/meta")
    if options["dataset_name"] == "t2m":
        options["dataset_name"] = "HumanML3D"
    facts = _DATASET_FACTS.get(options["dataset_name"])
    if facts is None:
        known = ", ".join(["t2m", *_DATASET_FACTS])
        raise CheckpointError(
            f"{path}: dataset_name '{shown(options['dataset_name'])}' is not one of {known}; correct the file"
        ) from KeyError("Dataset not recognized")
    data_root = facts["data_root"]
    options.update(facts, motion_dir=f"{data_root}new_joint_vecs", text_dir=f"{data_root}texts")
    options.update(max_motion_length=196, max_motion_frame=196, max_motion_token=55)
    options.setdefault("unit_length", 4)
    try:
        classes = 200 // options["unit_length"]
    except (ArithmeticError, TypeError) as error:
        said = shown(options["unit_length"])
        raise CheckpointError(
            f"{path}: unit_length={said}, expected a whole number above 0; correct the file"
        ) from error
    options.update(dim_word=300, num_classes=classes, dim_pos_ohot=15)
    options.update(is_train=False, is_continue=False, device=str(device))


# -- comparing ------------------------------------------------------------------------------------------------------
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
