"""The files of a source (folder or tar archive), their ids, and which captions belong to which of them."""

from __future__ import annotations

import lzma
import stat
import tarfile
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TypeVar

from hmu.documents import read_bytes
from hmu.errors import DataError, shown

LARGEST = {".bvh": 256 << 20, ".txt": 1 << 20}  # bytes of one file
_LONGEST_NAME = 200  # bytes of an id
_FREE, _RATIO = 64 << 20, 200  # an archive of numbers as text shrinks to a fifth or a tenth
_NAMES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST_HEADER = 1 << 20  # bytes of a name and what else is said of a member
_BROKEN = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError, OverflowError)
_NAMES_IT = 1000  # how well a caption's file fits: scores below are guesses
T = TypeVar("T")
Member = tuple[PurePosixPath, Callable[[], bytes]]


def read_members(source: Path, suffix: str) -> Iterator[Member]:
    """Every file with a suffix in a folder (sorted, with its subfolders) or in a tar archive (in its order).

    Yields the path inside the source without the suffix, composed as Unicode wants it (Macs take letters apart), and
    a function that reads the content, to be called before the next is asked for. Nothing is unpacked to disk.

    Raises:
        DataError: neither a folder nor a readable archive; from the function: one file that cannot be read.
    """
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() == suffix and p.is_file()):
            if not path.name.startswith("._"):
                yield _named(path.relative_to(source).as_posix()), partial(read_bytes, path, limit=LARGEST[suffix])
        return
    if not source.exists():
        raise DataError(f"'{source}' does not exist: give a folder or a tar archive with {suffix} files")
    for name, read in archive_members(source, suffix, LARGEST[suffix]):
        yield _named(name), read


class _Member(tarfile.TarInfo):
    """Refuses headers that would take memory, or time for ever, before ``tarfile`` follows them."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """The member of a header block."""
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _NAMES and member.size > _LONGEST_HEADER):
            raise DataError(f"a header claims {member.size} bytes")
        return member


def archive_members(source: Path, suffix: str, largest: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every regular file with a ``suffix`` (small letters, with its dot), in the archive's order: name and reader.

    A reader is to be called before the next file is asked for. Links, pipes and devices are no files, so that nothing
    outside the archive is read. A name may hold any folders and signs: it is no path of this machine.

    Raises:
        DataError: no archive, a broken one, or one that is mostly air (a bomb); from a reader: a broken file, or one
            of more than ``largest`` bytes.
    """
    disk, total = source.stat(), 0
    if not stat.S_ISREG(disk.st_mode):
        raise DataError(f"'{source}' is a pipe or a device, expected a folder or a tar archive with {suffix} files")
    try:
        with tarfile.open(source, tarinfo=_Member) as archive:
            for member in archive:
                total += member.size
                name = PurePosixPath(member.name)
                if total > _FREE and total > _RATIO * disk.st_size:
                    raise DataError(f"holds {total} bytes or more in {disk.st_size}, as no archive of motions does")
                if not member.isfile() or name.suffix.lower() != suffix or name.name.startswith("._"):
                    continue
                yield member.name, partial(_content, archive, member, largest)
    except DataError as error:
        raise DataError(f"'{source}': {error}; refused") from None
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(f"'{source}' is neither a folder nor a readable tar archive: {shown(reason, 150)}") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, largest: int) -> bytes:
    if member.size > largest:
        raise DataError(f"{shown(member.name)} has {member.size} bytes, expected at most {largest}")
    try:
        stream = archive.extractfile(member)
        return stream.read() if stream is not None else b""
    except _BROKEN as error:
        raise DataError(f"{shown(member.name)} cannot be read ({shown(error)}); copy the archive again") from None


def _named(path: str) -> PurePosixPath:
    """A file's path without its suffix, in the one spelling that ids and captions are compared in."""
    clean = "".join(c if c.isprintable() else "_" for c in unicodedata.normalize("NFC", path))
    parts = [part.strip() for part in clean.rpartition(".")[0].split("/")]
    return PurePosixPath(*(part for part in parts if part not in ("", ".", ".."))) if parts[-1] else PurePosixPath("_")


def file_path(written: str) -> PurePosixPath:
    """The path that a caption's ``file`` names: either kind of slash, with or without ``.bvh`` or a drive."""
    text = unicodedata.normalize("NFC", written.strip()).replace("\\", "/")
    text = text[:-4] if text.lower().endswith((".bvh", ".txt")) else text
    parts = [part.strip() for part in text.split("/") if part.strip() not in ("", ".", "..")]
    return PurePosixPath(*(part for part in parts if not part.endswith(":")))


def clip_ids(paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, str]:
    """Ids of files: the name alone where no other file has it, else with the folders (``anna/trial1``: anna_trial1)."""
    unique = list(dict.fromkeys(paths))
    names = Counter(path.name for path in unique)
    ids = {path: _short(path.name) for path in unique if names[path.name] == 1}
    taken = set(ids.values())
    for path in unique:
        if path not in ids:
            name = unique_name = _short("_".join(path.parts))
            count = 1
            while unique_name in taken:
                count += 1
                unique_name = f"{name}_{count}"
            ids[path] = unique_name
            taken.add(unique_name)
    return ids


def _short(name: str) -> str:
    """A name that file systems take with a suffix behind it."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + "_" + sha256(name.encode()).hexdigest()[:8]


def matched(
    given: Mapping[str, list[T]], ids: Mapping[PurePosixPath, str]
) -> tuple[dict[PurePosixPath, list[T]], dict[str, str]]:
    """The captions of each file, and the ``file`` entries that fit no file or several, with the reason.

    A caption's ``file`` may be a path, the end of a path, an id, a longer path than the source's (it began above), or
    a path in another tree. The last two fit only where no other file, and no other caption, fits as well.
    """
    same_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path, name in ids.items():
        same_name[path.name].append(path)
        if name != path.name:
            same_name[name].append(path)
    claims: dict[PurePosixPath, list[tuple[int, str]]] = defaultdict(list)
    wrong: dict[str, str] = {}
    for written in given:
        end = file_path(written)
        fits = sorted((_fit(path, ids[path], end), path) for path in dict.fromkeys(same_name.get(end.name, [])))
        near = [path for score, path in fits if score == fits[-1][0]]
        if len(near) == 1:
            claims[near[0]].append((min(fits[-1][0], _NAMES_IT), written))
        else:
            wrong[written] = f"fits {len(near)} files: give the folder too" if near else "fits no file"
    lines: dict[PurePosixPath, list[T]] = {}
    for path, claimed in claims.items():
        top = max(score for score, _ in claimed)
        best = [written for score, written in claimed if score == top]
        belonging = best if top >= _NAMES_IT or len(best) == 1 else []
        if belonging:
            lines[path] = [line for written in belonging for line in given[written]]
        for _, written in claimed:
            if written not in belonging:
                wrong[written] = f"'{path}' may be meant, but another caption fits it as well or better"
    return lines, wrong


def _fit(path: PurePosixPath, name: str, end: PurePosixPath) -> int:
    """How well a caption's file ``end`` fits a file: exact, its end, its id; else the number of parts they share."""
    if path == end:
        return _NAMES_IT + 1
    if path.parts[-len(end.parts) :] == end.parts or str(end) == name:
        return _NAMES_IT
    return len(path.parts) if end.parts[-len(path.parts) :] == path.parts else 0
