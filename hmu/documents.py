"""Text, JSON and YAML files: one way to read those of others, that runs nothing and always ends; one way to write ours.

Every reader of captions, lists, options, tables and records goes through here, so that a byte-order mark, another
encoding, a file that is no file or a document made to exhaust memory gets the same treatment everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from hmu.errors import CheckpointError, DataError, HmuError, shown

LIMIT = 256 << 20  # bytes of a text file
NODES = 1_000_000  # values of a YAML document, aliases written out
DEPTH = 100  # brackets inside each other
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read_bytes(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises:
        error: one line, for a file that is missing, unreadable, too large, or none at all (folder, pipe, device:
            opening a pipe would wait for ever).
    """
    path = Path(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "no regular file (a pipe or a device)"
            raise error(f"{path}: is {kind}, expected a file")
        if facts.st_size > limit:
            raise error(f"{path}: has {facts.st_size} bytes, expected at most {limit}; is it the right file?")
        return path.read_bytes()
    except (OSError, ValueError) as problem:  # ValueError: a path with a NUL
        why = os.strerror(problem.errno) if isinstance(problem, OSError) and problem.errno else problem
        raise error(f"{shown(str(path), 200)}: cannot be read ({why})") from problem


def decode(content: bytes, name: Path | str, error: type[HmuError] = DataError) -> str:
    """Text from UTF-8, with or without a byte-order mark, or from UTF-16 with one (as PowerShell writes it).

    Raises:
        error: another encoding; the line says where, and to save the file as UTF-8.
    """
    encoding, skip = next(((name_, len(mark)) for mark, name_ in _MARKS if content.startswith(mark)), ("utf-8", 0))
    body = content[skip:]
    if encoding == "utf-8" and b"\0" in body:
        raise error(f"{name}: holds zero bytes (UTF-16 without a mark, or no text); save it as UTF-8")
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as problem:
        line = body.count(b"\n", 0, problem.start) + 1
        raise error(
            f"{name}: line {line} is not {encoding.upper()} (byte 0x{body[problem.start]:02x}); save it as UTF-8"
        ) from problem


def read_text(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> str:
    """A text file, as :func:`read_bytes` and :func:`decode` read it."""
    return decode(read_bytes(path, error, limit), path, error)


def read_lines(path: Path | str, error: type[HmuError] = DataError) -> list[str]:
    """The lines of a list (ids, prompts), stripped, without empty ones."""
    return [line.strip() for line in read_text(path, error).splitlines() if line.strip()]


def read_json(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> Any:
    """A JSON document.

    Raises:
        error: broken, or nested deeper than Python reads.
    """
    try:
        return json.loads(read_text(path, error, limit))
    except (ValueError, RecursionError) as problem:
        why = "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
        raise error(f"{path}: broken JSON ({why}); copy it again") from problem


def read_yaml(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> Any:
    """A YAML document as plain values; no tags, as OmegaConf reads numbers, and no aliases that grow without bound.

    Raises:
        error: broken, nested too deeply, or with more than a million values once its aliases are written out.
    """
    text = read_text(path, error, limit)
    try:
        if _depth(text) > DEPTH:
            raise RecursionError
        loader = get_yaml_loader()(text)
        root = loader.get_single_node()
        if root is not None and _size(root, {}, set()) > NODES:
            raise error(f"{path}: its aliases stand for more than {NODES} values; refused")
        return None if root is None else loader.construct_document(root)
    except RecursionError as problem:
        raise error(f"{path}: nested too deeply") from problem
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a date that is none
        where = getattr(problem, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise error(f"{path}: broken YAML{line} ({shown(getattr(problem, 'problem', None) or problem)})") from problem


def _depth(text: str) -> int:
    """How deep brackets nest at most; told beforehand, because the parser looks a thousand of them ahead at each."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _size(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """How many values a node stands for; a node that holds itself stands for too many."""
    key = id(node)
    if key in above:
        return NODES + 1
    if key not in known:
        above.add(key)
        below = node.value if isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) else []
        parts = [part for entry in below for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[key] = 1 + sum(_size(part, known, above) for part in parts)
        above.discard(key)
    return known[key]


def walk(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A plain value and all that it holds, the outer before the inner, each with the keys that lead there."""
    yield place, value
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from walk(inner, (*place, str(key)))


def write_bytes(path: Path | str, data: bytes | memoryview) -> None:
    """Write a file atomically: readers see the old file or the whole new one, never a part.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written; the old file, if any, is untouched then and
            no temporary file stays.
    """
    path = Path(path)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        kept = "the old file is untouched" if path.exists() else "no file was written"
        raise CheckpointError(f"{path}: cannot write {len(data)} bytes ({error.strerror or error}); {kept}") from error


def write_text(path: Path | str, text: str) -> None:
    """Write a text file as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON as :func:`write_bytes` does; arrays, tensors, paths and sets become plain values."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n")


def sha256(path: Path | str) -> str:
    """SHA-256 of a file as 64 hexadecimal digits, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    """The process's umask; the interface only reads it by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} to JSON")
