"""What can happen to a file of a cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

#: folders that hold one file for each clip
CLIPS = ("new_joint_vecs", "new_joints", "texts", "states", "labels")


def flip(path: Path, at: float = 0.5) -> None:
    """Invert one byte, at a share of the file."""
    content = bytearray(path.read_bytes())
    if content:
        content[min(int(at * len(content)), len(content) - 1)] ^= 0xFF
    _replace(path, bytes(content))


def _replace(path: Path, content: bytes) -> None:
    """A new file under the old name: what others have mapped stays as it is."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def _swap(path: Path) -> None:
    """The content of another file of the folder, or its own twice where it is alone."""
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    same = [other for other in others if other.suffix == path.suffix]
    _replace(path, (same or others)[0].read_bytes() if others else 2 * path.read_bytes())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flip": flip,
    "flip first": lambda path: flip(path, 0),
    "flip last": lambda path: flip(path, 1),
    "cut": lambda path: _replace(path, path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: _replace(path, b""),
    "append": lambda path: _replace(path, path.read_bytes() + b"\0" * 4096),
    "garbage": lambda path: _replace(path, bytes(range(256)) * 8),
    "swap": _swap,
    "delete": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


def copied(source: Path, target: Path) -> Path:
    """A fresh copy of a cache, times included."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def files(folder: Path) -> list[Path]:
    """Every file below ``folder``, relative to it; of many clips only the first."""
    found: dict[tuple[Path, str], Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        kind = path.suffix if path.parent.name in CLIPS else ""
        found.setdefault((path.parent, kind or path.name), path)
    return [path.relative_to(folder) for path in found.values()]
