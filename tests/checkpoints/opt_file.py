"""The authors' ``opt.txt``, written for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmu.checkpoints.opt import FOOTER, HEADER
from hmu.documents import write_bytes
from hmu.errors import CheckpointError


def write_opt(path: Path | str, options: Mapping[str, Any]) -> None:
    """Write options as the authors' parser does: banner, sorted ``key: value`` lines, banner. Atomic."""
    for key, value in options.items():
        if "\n" in f"{key}{value}" or ": " in str(key):
            raise CheckpointError(f"{path}: option {key!r} cannot be written on one 'key: value' line")
    lines = [HEADER, *(f"{key}: {options[key]}" for key in sorted(options)), FOOTER]
    write_bytes(path, ("\n".join(lines) + "\n").encode("utf-8"))
