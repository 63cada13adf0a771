"""Arrays in single cache files that end with their own seal: see :mod:`hmu.checkpoints.sealed`."""

from __future__ import annotations

import logging
import os
import struct
import uuid
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from hmu.checkpoints.sealed import BLOCK, Damaged, set_aside, writing

log = logging.getLogger(__name__)
_END = struct.Struct("<8sQI")  # mark, bytes of content, CRC-32 of name and content
_MARK = b"hmu-seal"


class _Summing:
    """A stream that sums up what is written. NumPy takes it for no file, and then reports a full disk as others do."""

    def __init__(self, stream: IO[bytes], start: int) -> None:
        self.stream, self.size, self.sum = stream, 0, start

    def write(self, data: bytes) -> int:
        self.stream.write(data)
        self.size += len(data)
        self.sum = zlib.crc32(data, self.sum)
        return len(data)


def _name_sum(path: Path) -> int:
    return zlib.crc32(f"{path.parent.name}/{path.name}".encode())


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array of any shape (``.npy`` and a seal) atomically.

    Raises:
        DataError: it cannot be written; the old file, if any, is untouched then.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as stream:
                summing = _Summing(stream, _name_sum(path))
                np.save(cast("IO[bytes]", summing), array, allow_pickle=False)
                stream.write(_END.pack(_MARK, summing.size, summing.sum))
            if path.is_dir():
                set_aside(path)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def check_sealed(path: Path) -> int:
    """The number of bytes of content.

    Raises:
        Damaged: it is not what was written.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size - _END.size
        stream.seek(max(size, 0))
        end = stream.read()
        if size < 0 or not end.startswith(_MARK):
            raise Damaged(path, "no seal at its end: cut off, or an earlier version made it")
        _, written, expected = _END.unpack(end)
        if written != size:
            raise Damaged(path, f"{size} bytes, {written} were written")
        stream.seek(0)
        total, left = _name_sum(path), size
        while left and (block := stream.read(min(BLOCK, left))):
            total, left = zlib.crc32(block, total), left - len(block)
    if left or total != expected:
        raise Damaged(path, "it is not what was written")
    return size


def sound(path: Path) -> bool:
    """Whether there is a sound file. A damaged one is said in one line: the caller makes it again."""
    try:
        check_sealed(path)
    except FileNotFoundError:
        return False
    except (Damaged, OSError) as error:
        reason = error.reason if isinstance(error, Damaged) else error.strerror
        log.warning("%s: damaged (%s), made again", path, reason)
        return False
    return True


def load_array(path: Path) -> NDArray[Any] | None:
    """The array of a file, of any shape, None where there is no sound one.

    It stays on disk and is read page by page; what is done to it does not reach the file.
    """
    return map_array(path) if sound(path) else None


def map_array(path: Path) -> NDArray[Any]:
    """The array of a file, of any shape, that this process has checked or written."""
    return cast("NDArray[Any]", np.load(path, allow_pickle=False, mmap_mode="c"))
