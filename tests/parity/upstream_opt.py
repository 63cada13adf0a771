"""The ``opt.txt`` exactly as the authors' reader (MoMask, HMU) gives it, its traps included: ``1e-06`` stays text, many
keys are overwritten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hmu.checkpoints.opt import FOOTER, HEADER, opt_lines
from hmu.errors import CheckpointError, shown

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
