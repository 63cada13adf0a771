"""Reading ``.npz`` files that hold strings as Python objects, without running what they contain.

A column list saved from a Python list of strings is an *object* array, which numpy stores as a pickle. Such an entry is
read here by an unpickler that knows nothing but the three names such an array consists of, and answers them with plain
containers: what comes out is a list of strings, or an error.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from hmu.errors import DataError, shown

LARGEST_TEXT = 1 << 20  # bytes of a list of names
LARGEST = 128 << 20  # bytes of an array: an hour of states at 100 Hz has 90


class _Plain:
    """Stands for an array or a type of one: keeps its state, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _scalar(kind: Any, data: Any) -> str:
    """A numpy string scalar inside an object array: its bytes are UTF-32."""
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("a scalar that is no string")
    return data.decode("utf-32-le").rstrip("\0")


_NAMES = {
    ("multiarray", "_reconstruct"): _Plain,
    ("multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): _Plain,
    ("numpy", "dtype"): _Plain,
}


class _Strings(pickle._Unpickler):
    """Knows only what an array of strings is made of; in Python, as in :mod:`hmu.checkpoints.words`."""

    def find_class(self, module: str, name: str) -> Any:
        """Our stand-in for one of the known names; every other name is refused."""
        home = "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module
        if (home, name) not in _NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array of strings")
        return _NAMES[home, name]

    def persistent_load(self, pid: Any) -> Any:
        """There are no outside references in such an array."""
        raise pickle.UnpicklingError("outside references are not part of an array of strings")


def strings_from_pickle(data: bytes) -> list[str]:
    """The strings of a pickled object array.

    Raises:
        ValueError: for anything but a flat array of strings; nothing in ``data`` is run.
    """
    try:
        array = _Strings(io.BytesIO(data)).load()
        items = array.state[4] if isinstance(array, _Plain) and len(array.state) == 5 else None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"not a plain list of names ({error})") from error
    if not isinstance(items, list) or not all(type(item) is str for item in items):
        raise ValueError("not a plain list of names")
    return items


class TrialFile:
    """The arrays of one ``.npz``; use as a context manager.

    Raises:
        DataError: in one line, for a file that is missing, truncated or no ``.npz``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file, expected a trial (.npz)")
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
            raise DataError(
                f"{path}: truncated or no .npz file ({path.stat().st_size} bytes); copy it again"
            ) from error
        self._names = {name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")}

    def __enter__(self) -> TrialFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def array(self, key: str) -> np.ndarray:
        """A numeric array.

        Raises:
            DataError: missing, unreadable or not numeric; names file and key.
        """
        self._require(key)
        try:
            value = _numbers(self._content(key, LARGEST))
        except Exception as error:  # a damaged zip or header raises nearly anything
            raise DataError(
                f"{self.path}: key '{key}' cannot be read as numbers ({shown(error, 120)}); write it again"
            ) from error
        return value

    def strings(self, key: str) -> list[str]:
        """A flat list of names, stored as unicode, bytes or Python objects.

        Raises:
            DataError: missing, unreadable, or anything but strings; nothing in the file is run.
        """
        self._require(key)
        try:
            return _strings(self._content(key, LARGEST_TEXT))
        except Exception as error:  # as above
            raise DataError(
                f"{self.path}: key '{key}' is no list of names: {shown(error, 120)}; store plain strings"
            ) from error

    def scalar(self, key: str) -> float:
        """One finite number.

        Raises:
            DataError: as :meth:`array`, or for several or infinite numbers.
        """
        value = self.array(key)
        if value.size != 1 or not np.isfinite(value).all():
            raise DataError(f"{self.path}: key '{key}' has shape {value.shape}, expected one finite number")
        return float(value.reshape(()))

    def _content(self, key: str, limit: int) -> bytes:
        """The bytes of an entry; what it says to hold bounds what is unpacked."""
        info = self._zip.getinfo(f"{key}.npy")
        if info.file_size > limit:
            raise ValueError(f"it is larger than {limit} bytes")
        return self._zip.read(info)

    def _require(self, key: str) -> None:
        if key not in self:
            have = shown(", ".join(sorted(self._names)) or "nothing", 120)
            raise DataError(f"{self.path}: key '{key}' is missing (the file holds {have}); write the trial again")


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = reader(stream)
    return shape, dtype


def _numbers(data: bytes) -> np.ndarray:
    """A numeric array from the bytes of an ``.npy``; nothing is allocated for more than they hold."""
    stream = io.BytesIO(data)
    shape, dtype = _header(stream)
    if dtype.kind not in "fiub":
        raise ValueError(f"it holds {dtype}, expected numbers")
    held = len(data) - stream.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"its header says {shape} of {dtype}, it holds {held} bytes")
    stream.seek(0)
    return np.asarray(npy.read_array(stream, allow_pickle=False))


def _strings(data: bytes) -> list[str]:
    stream = io.BytesIO(data)
    shape, dtype = _header(stream)
    if dtype.hasobject:
        return strings_from_pickle(stream.read())
    held = len(data) - stream.tell()
    if dtype.kind not in "US" or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"it holds {shape} of {dtype}")
    stream.seek(0)
    flat = npy.read_array(stream, allow_pickle=False).ravel()
    if dtype.kind == "S":
        return [item.decode() for item in flat.tolist()]
    plain = flat.astype(dtype.newbyteorder("<"))  # numpy itself would make texts of code points that do not exist
    return [plain[i : i + 1].tobytes().decode("utf-32-le").rstrip("\0") for i in range(len(plain))]
