"""Caches whose content is checked when they are opened, and made again where it is not what was written.

A folder holds a seal, written last: the size of every file and the CRC-32 of every block. It is bound to the folder's
name, so that a copy under another name is noticed too. CRC-32 reads about 2 GB/s and is meant for accidents (a full
disk, a torn write, a flipped bit), not against forgery: what is cached is data, never code.
Nothing is synchronised to disk on purpose: what a power cut tears is noticed and made again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hmu.errors import DataError

log = logging.getLogger(__name__)

SEAL = "seal.crc"
DAY = 24 * 3600.0
BLOCK = 1 << 18  # bytes; a clip of 200 frames has 200 kB, so that reading one checks little more than itself
_TRIES = 8  # how often a folder is put in place while other processes do the same


class Damaged(DataError):
    """A cache holds something else than was written. Its owner makes it again; one that cannot ends with this line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: damaged ({reason}); delete it and start again, it is then made anew")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[Damaged], tuple[Path, str]]:
        return Damaged, (self.path, self.reason)


def everything(_: str) -> bool:
    """Check the content of every file of a folder."""
    return True


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """What stops a cache from being written, in one line.

    Raises:
        DataError: the disk is full, the folder cannot be written, a quota or a limit of file sizes is reached.
    """
    try:
        yield
    except OSError as error:
        # NumPy reports a short write with a text of its own and no number
        why = error.strerror or ("no space left" if "requested and" in str(error) else str(error))
        named = Path(str(error.filename or target))
        what = target if target.parent in named.parents else named  # the temporary name tells nothing
        raise DataError(
            f"{what}: cannot be written ({why}); free space or name another place (paths.cache=…)"
        ) from error


def set_aside(path: Path) -> None:
    """Give a file or folder a temporary name; it is removed when it is a day old, others may have mapped it."""
    with suppress(FileNotFoundError):  # another process was faster
        os.utime(path)  # so that it counts as young
        os.replace(path, path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"))


def check_place(folder: Path, written: bool = True) -> None:
    """Whether caches can be kept below ``folder`` (``paths.cache``), which need not exist yet; nothing is written.

    ``written``: new ones must be possible, not only reading what is there.

    Raises:
        DataError: it lies below a file, or may not be written.
    """
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise DataError(f"paths.cache={folder}: {place} is no folder; name another place (paths.cache=…)")
    if written and not os.access(place, os.W_OK | os.X_OK):
        raise DataError(f"paths.cache={folder}: {place} may not be written; name another place (paths.cache=…)")


@dataclass(frozen=True)
class Seal:
    """What a folder must hold.

    Attributes:
        folder: where.
        sizes: bytes by file, relative to the folder with ``/``.
        sums: CRC-32 of every :data:`BLOCK` of it.
        mark: of all sizes and sums; equal contents have equal marks.
    """

    folder: Path
    sizes: dict[str, int]
    sums: dict[str, list[int]]
    mark: str

    def check(self, contents: Callable[[str], bool]) -> Seal:
        """Compare the sizes of all files, and the content of those that ``contents`` names; returns itself.

        Raises:
            Damaged: naming the first difference.
        """
        present = dict(_files(self.folder))
        for name, size in self.sizes.items():
            if name not in present:
                raise Damaged(self.folder, f"{name} is missing")
            if present[name] != size:
                raise Damaged(self.folder, f"{name} has {present[name]} bytes, {size} were written")
        for name, sums in self.sums.items():
            if contents(name) and _sums(self.folder / name) != sums:
                raise Damaged(self.folder, f"{name} is not what was written")
        return self


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Names and sizes of the files below ``folder``."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size


def _sums(path: Path) -> list[int]:
    sums = []
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            sums.append(zlib.crc32(block))
    return sums


def _bound(name: str, body: bytes) -> str:
    return f"{zlib.crc32(body, zlib.crc32(name.encode())):08x}"


def write_seal(folder: Path, name: str) -> None:
    """Seal everything below ``folder``, which will be called ``name``."""
    files = {file: [size, _sums(folder / file)] for file, size in sorted(_files(folder)) if file != SEAL}
    body = json.dumps(files, separators=(",", ":")).encode()
    (folder / SEAL).write_bytes(_bound(name, body).encode() + b"\n" + body)


def read_seal(folder: Path) -> Seal:
    """The seal of ``folder``.

    Raises:
        Damaged: there is none, or it is damaged or of another folder.
    """
    try:
        content = (folder / SEAL).read_bytes()
    except OSError as error:
        state = "an earlier version made it, or it is unfinished" if folder.is_dir() else "no such folder"
        raise Damaged(folder, f"no {SEAL}: {state}") from error
    mark, _, body = content.partition(b"\n")
    if mark != _bound(folder.name, body).encode():
        raise Damaged(folder, f"{SEAL} is not what was written")
    files: dict[str, tuple[int, list[int]]] = json.loads(body)
    sizes, sums = ({name: of[part] for name, of in files.items()} for part in (0, 1))
    return Seal(folder, sizes, sums, f"{zlib.crc32(body):08x}")  # type: ignore[arg-type]


def checked(target: Path, contents: Callable[[str], bool] = everything) -> Seal:
    """The seal of folder ``target``; ``contents`` says of which files the content is read, not only the size.

    Raises:
        Damaged: it is missing, or holds something else than was written.
    """
    try:
        return read_seal(target).check(contents)
    except OSError as error:  # it vanished meanwhile, or the disk cannot be read
        raise Damaged(target, error.strerror or str(error)) from error


def sealed_folder(target: Path, build: Callable[[Path], object], contents: Callable[[str], bool] = everything) -> Seal:
    """The seal of folder ``target``, which is made first where it is missing and again where it is damaged.

    Several processes may do this at once: each makes its own beside, and one of them is kept. A damaged folder is moved
    aside (``*.tmp``, removed when a day old), since other processes may have mapped its files; what others have put
    into it is copied along.

    Args:
        target: the folder. build: fills an empty folder; equal calls must give equal content.
        contents: as in :func:`checked`.

    Raises:
        DataError: it cannot be written, in one line.
    """
    try:
        return checked(target, contents)
    except Damaged as damage:
        if os.path.lexists(target):
            log.warning("%s: damaged (%s), made again", target, damage.reason)
    building = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with writing(target):
            building.mkdir(parents=True)
            build(building)
            write_seal(building, target.name)
            _publish(building, target, contents)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return checked(target, contents)


def _publish(building: Path, target: Path, contents: Callable[[str], bool]) -> None:
    """Put ``building`` in the place of ``target``, unless another process has put a sound folder there."""
    for last in range(1 - _TRIES, 1):
        try:
            os.replace(building, target)
            return
        except OSError:
            if last == 0 or not os.path.lexists(target):
                raise
        with suppress(Damaged):
            checked(target, contents)
            return
        _copy_foreign(target, building)
        set_aside(target)


def _copy_foreign(old: Path, new: Path) -> None:
    """What ``old`` holds beside the files of ``new`` (lists of a user, say)."""
    for name in [name for name, _ in _files(old)] if old.is_dir() else []:
        if not (new / name).exists():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(old / name, new / name)


def remove_leftovers(folder: Path, prefix: str = "") -> list[Path]:
    """Delete temporary files and folders (``*.tmp``) of a cache folder whose writer must be long dead.

    Writers build under such a name and rename at the end, so one that was killed leaves it behind. What cannot be
    looked at or deleted is left alone: a cache is no reason to fail. Returns what was removed.

    Args:
        folder: one that only hmu writes to, unless ``prefix`` says which names are its own; need not exist.
        prefix: only names that start with it (dots in front of a name do not count).
    """
    removed = []
    for path in sorted(folder.glob("*.tmp")) if folder.is_dir() else []:
        if not path.name.lstrip(".").startswith(prefix):
            continue
        try:
            parts = [path, *path.iterdir()] if path.is_dir() else [path]
            if (
                time.time() - max(part.stat().st_mtime for part in parts) < DAY
            ):  # a folder is changed when an entry of it is
                continue
            (shutil.rmtree if path.is_dir() else os.unlink)(path)
        except OSError as error:  # another process was faster, or the file is not ours
            log.debug("left %s as it is: %s", path, error)
            continue
        removed.append(path)
    if removed:
        log.info("removed %d unfinished leftovers of killed processes from %s", len(removed), folder)
    return removed
