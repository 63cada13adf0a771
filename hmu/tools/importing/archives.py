"""Tar archives that somebody else has made: read member by member, nothing is unpacked to disk, and reading ends."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from hmu.errors import DataError, shown

_FREE, _RATIO = 64 << 20, 200  # an archive of numbers as text shrinks to a fifth or a tenth
_NAMES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_BROKEN = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError, OverflowError)
_LONGEST = 1 << 20  # bytes of a name and what else is said of a member


class _Member(tarfile.TarInfo):
    """Refuses headers that would take memory, or time for ever, before ``tarfile`` follows them."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """The member of a header block."""
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _NAMES and found.size > _LONGEST):
            raise DataError(f"a header claims {found.size} bytes")
        return found


def archive_members(source: Path, suffix: str, largest: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every regular file with a suffix, in the archive's order: its name, and what reads it.

    What reads is to be called before the next file is asked for.
    Links, pipes and devices are no files, so that nothing outside the archive is read. A name may hold any folders and
    signs: it is no path of this machine.

    Args:
        source: ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz``.
        suffix: in small letters, with its dot.
        largest: bytes of one such file.

    Raises:
        DataError: no archive, a broken one, or one that is mostly air (a bomb); from what reads: too large, or broken.
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
