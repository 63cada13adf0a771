"""Arrays that somebody else has written: what a header claims is checked against the file before memory is taken."""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hmu.errors import DataError, HmuError, shown

LIMIT = 512 << 20  # bytes of one array in memory
_HEADER = 10_000  # bytes; numpy's own limit
_PARSED = (SyntaxError, TokenError, RecursionError, TypeError)  # of a header, which is Python's notation
_BROKEN = (ValueError, OSError, EOFError, MemoryError, OverflowError, *_PARSED)
_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError)


def load_array(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> NDArray[Any]:
    """The array of a ``.npy`` file, of any shape; numbers, truth values or texts, never Python objects.

    Raises:
        FileNotFoundError: there is nothing.
        error: one line that names the file: no regular file, an archive under this name, Python objects, a header that
            is broken or claims more than the file holds, or more than ``limit``.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise error(f"{path}: is no file (a folder, a pipe or a device), expected an array (.npy)")
        with path.open("rb") as stream:
            return _read(stream, os.fstat(stream.fileno()).st_size, str(path), error, limit)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror})") from problem


def load_member(
    archive: zipfile.ZipFile, name: str, source: str, error: type[HmuError] = DataError, limit: int = LIMIT
) -> NDArray[Any]:
    """The array ``name`` (without ``.npy``) of an ``.npz`` archive, any shape, as :func:`load_array` reads one.

    Raises:
        error: as there, or no such array, or one that is packed in a way that numpy does not pack.
    """
    try:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as stream:
            return _read(stream, info.file_size, f"{source}: '{name}'", error, limit)
    except (*_ZIP, *_BROKEN) as problem:
        raise error(f"{source}: '{name}' cannot be read ({shown(problem)}); write the archive again") from problem


def load_arrays(path: Path | str, error: type[HmuError] = DataError, limit: int = LIMIT) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` archive by name, any shapes, together at most ``limit`` bytes.

    Raises:
        error: as :func:`load_member`, or no archive.
    """
    path, arrays = Path(path), dict[str, NDArray[Any]]()
    try:
        if not path.is_file():
            raise error(f"{path}: no such file, expected an archive of arrays (.npz)")
        with zipfile.ZipFile(path) as archive:
            for name in [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]:
                room = limit - sum(array.nbytes for array in arrays.values())
                arrays[name] = load_member(archive, name, str(path), error, room)
    except (*_ZIP, *_BROKEN) as problem:
        raise error(f"{path}: no readable archive of arrays ({shown(problem)}); copy it again") from problem
    return arrays


def _read(stream: IO[bytes], size: int, name: str, error: type[HmuError], limit: int) -> NDArray[Any]:
    """An array whose ``size`` bytes, header included, are next in ``stream``."""
    start = stream.read(12)
    if start.startswith(b"PK"):
        raise error(f"{name}: is an archive (.npz) under the name of an array (.npy); save it with numpy.save")
    try:
        version = npy.read_magic(io.BytesIO(start))
        wide = version != (1, 0)
        length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
        begin = (12 if wide else 10) + length
        if length > _HEADER or begin < len(start):
            raise ValueError(f"a header of {length} bytes")
        reader = npy.read_array_header_2_0 if wide else npy.read_array_header_1_0
        shape, fortran, dtype = reader(io.BytesIO(start[8:] + stream.read(begin - len(start))))
    except _BROKEN as problem:
        raise error(f"{name}: no plain array ({shown(problem)}); save it with numpy.save") from problem
    if dtype.hasobject or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise error(f"{name}: holds {'Python objects' if dtype.hasobject else shown(dtype)}, expected plain numbers")
    needed = math.prod(shape) * dtype.itemsize
    if needed > max(size - begin, 0):
        raise error(f"{name}: its header claims shape {shown(shape)}, {needed} bytes, but {size - begin} follow")
    if needed > limit:
        raise error(f"{name}: shape {shown(shape)} takes {needed} bytes, expected at most {limit}")
    array = np.empty(math.prod(shape), dtype)
    room = memoryview(array.view(np.uint8) if array.size else b"")  # type: ignore[arg-type]
    done = 0
    while done < len(room):
        if not (count := stream.readinto(room[done:])):  # type: ignore[attr-defined]
            raise error(f"{name}: ends after {done} of {needed} bytes; copy it again")
        done += count
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
