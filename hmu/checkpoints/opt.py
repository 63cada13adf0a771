"""The authors' ``opt.txt``: one ``key: value`` per line between two banner lines.

Source: the option readers of MoMask and HMU (measured in their golden vectors). Two readings are offered:

``clean``
    (default) what the writer meant: ``1e-06`` is a number, ``[1, 2]`` a list, ``None`` nothing. Only what the file
    says, then the overrides.
``upstream``
    exactly what the authors' reader returns, its traps included (``1e-06`` stays text, many keys are overwritten).
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmu.checkpoints.safe import write_bytes
from hmu.documents import read_text
from hmu.errors import CheckpointError, shown

log = logging.getLogger(__name__)
LARGEST = 1 << 20  # bytes; the authors' files have 2,000
LONGEST = 10_000  # characters of a list: a longer one stays text
HEADER = "------------ Options -------------"
FOOTER = "-------------- End ----------------"

_FLOAT = re.compile(r"[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+)", re.ASCII)
_INT = re.compile(r"[-+]?\d{1,400}", re.ASCII)  # Python reads no longer ones
_UPSTREAM_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_WORDS = {"True": True, "False": False, "None": None}
_SPECIAL_FLOATS = {"nan", "inf", "+inf", "-inf"}

# What the authors' reader writes over the file's values, by dataset.
_DATASET_FACTS: dict[str, dict[str, Any]] = {
    "HumanML3D": {"data_root": "./dataset/HumanML3D/", "joints_num": 22, "dim_pose": 263},
    "kit": {"data_root": "./dataset/KIT-ML/", "joints_num": 21, "dim_pose": 251},
    "Motion-X": {"data_root": "./dataset/Motion-X/", "joints_num": 22, "dim_pose": 263},
}


def parse_value(text: str, variant: str = "clean") -> Any:
    """One value of an ``opt.txt``. ``upstream`` raises ``ValueError`` where the authors' reader does."""
    if variant == "upstream":
        return _parse_upstream(text)
    stripped = text.strip()
    if stripped in _WORDS:
        return _WORDS[stripped]
    if _INT.fullmatch(stripped):
        return int(stripped)
    if _FLOAT.fullmatch(stripped) or stripped in _SPECIAL_FLOATS:
        return float(stripped)
    return _literal(stripped) if stripped[:1] in ("[", "(", "{") and len(stripped) <= LONGEST else stripped


def _literal(text: str) -> Any:
    """A list, tuple or mapping of plain values; anything else stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # TypeError: a list as a key
        return text


def _parse_upstream(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    # Signs are taken off for the test only, all minus signs before all plus signs; the conversion sees them again.
    unsigned = text.strip().lstrip("-").lstrip("+")
    if _UPSTREAM_FLOAT.fullmatch(unsigned):
        return float(text)
    if unsigned.isdigit():
        return int(text)
    return text


def read_opt(path: Path | str, variant: str = "clean", **overrides: Any) -> dict[str, Any]:
    """Read an ``opt.txt``; ``overrides`` win over the file.

    With ``variant="upstream"`` the derived keys of the authors' reader are added (``save_root``, ``dim_pose`` ...;
    ``device`` is ``"cpu"`` unless overridden). Raises :class:`CheckpointError` (one line, with the line number) for a
    missing file or a line that is not ``key: value``; its ``__cause__`` is the exception the authors' reader raises.
    """
    path = Path(path)
    if variant not in ("clean", "upstream"):
        raise ValueError(f"variant must be 'clean' or 'upstream', got {variant!r}")
    if not path.exists():
        raise CheckpointError(f"{path}: no such file, expected the opt.txt beside the authors' checkpoint")
    lines = read_text(path, CheckpointError, LARGEST).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    options: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() in (HEADER, FOOTER) or (number == len(lines) and line == ""):
            continue
        if variant == "clean" and not line.strip():
            continue
        try:
            key, value = _split(line, variant)
            value = parse_value(value, variant)
        except ValueError as error:
            raise CheckpointError(f"{path}, line {number}: expected 'key: value', found '{shown(line)}'") from error
        if variant == "clean" and options.get(key, value) != value:
            log.warning("%s, line %d: '%s' is there again; the last value counts", path, number, shown(key))
        options[key] = value
    if variant == "upstream":
        _derive_upstream(path, options, overrides.get("device", "cpu"))
    options.update(overrides)
    return options


def _split(line: str, variant: str) -> tuple[str, str]:
    if variant == "upstream":
        key, value = line.split(": ")
        return key, value
    key, colon, value = line.partition(":")
    if not colon or not key.strip() or value[:1] not in ("", " ", "\t"):
        raise ValueError("no 'key: value' separator")
    return key.strip(), value


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


def write_opt(path: Path | str, options: Mapping[str, Any]) -> None:
    """Write options as the authors' parser does: banner, sorted ``key: value`` lines, banner. Atomic."""
    for key, value in options.items():
        if "\n" in f"{key}{value}" or ": " in str(key):
            raise CheckpointError(f"{path}: option {key!r} cannot be written on one 'key: value' line")
    lines = [HEADER, *(f"{key}: {options[key]}" for key in sorted(options)), FOOTER]
    write_bytes(path, ("\n".join(lines) + "\n").encode("utf-8"))
