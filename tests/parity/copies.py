"""Changed copies of golden cases, for the tests of the reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.parity.__main__ import known_kinds, run_case, runner_for

Arrays = dict[str, np.ndarray]


def copy_of(case: Path, target: Path, name: str = "") -> Path:
    """A writable copy of a case among links to its neighbours (checkpoints, other cases)."""
    place = target / case.parent.name
    place.mkdir(parents=True, exist_ok=True)
    for other in case.parent.iterdir():
        if other != case and not (place / other.name).exists():
            (place / other.name).symlink_to(other)
    copied = place / (name or case.name)
    shutil.copytree(case, copied, copy_function=shutil.copyfile)
    for path in (copied, *copied.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copied


def change(path: Path, edit: Callable[[Arrays], Arrays | None]) -> None:
    """Rewrite a ``.npz``."""
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(edit(arrays) or arrays))


def spoil(path: Path, name: str) -> None:
    """Change one value of an array."""

    def edit(arrays: Arrays) -> None:
        value = arrays[name].reshape(-1).copy()
        place = value.size // 2
        value[place] = not value[place] if value.dtype == bool else value[place] + 1
        arrays[name] = value.reshape(arrays[name].shape)

    change(path, edit)


def run(case: Path, strict: bool = False) -> tuple[str, bool]:
    """A case's line and whether it passed, by the runner that its name and arrays choose."""
    return run_case(case, runner_for(case, known_kinds()), strict)
