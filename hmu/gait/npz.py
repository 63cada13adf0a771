"""Reading ``.npz`` files that hold strings as Python objects, without running what they contain.

A column list saved from a Python list of strings is an *object* array, which numpy stores as a pickle. It is read by an
unpickler that knows nothing but the names such an array consists of: what comes out is a list of strings, or an error.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from hmu.checkpoints.arrays import load_member
from hmu.checkpoints.words import PlainUnpickler
from hmu.errors import DataError, shown

LARGEST_TEXT = 1 << 20  # bytes of a list of names
LARGEST = 128 << 20  # bytes of an array: an hour of states at 100 Hz has 90


class _Plain:
    """Stands for an array or its type: keeps its state, does nothing."""

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


class _Strings(PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        home = "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module
        if (home, name) not in _NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array of strings")
        return _NAMES[home, name]


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
        """An array of numbers, of any shape; :class:`DataError` names file and key of anything else."""
        self._require(key)
        value = load_member(self._zip, key, str(self.path), limit=LARGEST)
        if value.dtype.kind not in "fiub":
            raise DataError(f"{self.path}: key '{key}' holds {value.dtype}, expected numbers; write it again")
        return value

    def strings(self, key: str) -> list[str]:
        """A flat list of names, stored as unicode, bytes or Python objects.

        Raises:
            DataError: missing, unreadable, or anything but strings; nothing in the file is run.
        """
        self._require(key)
        try:
            return self._strings(key)
        except Exception as error:  # a damaged pickle, zip or header raises nearly anything
            raise DataError(
                f"{self.path}: key '{key}' is no list of names: {shown(error, 120)}; store plain strings"
            ) from error

    def _strings(self, key: str) -> list[str]:
        info = self._zip.getinfo(f"{key}.npy")
        if info.file_size > LARGEST_TEXT:
            raise ValueError(f"it is larger than {LARGEST_TEXT} bytes")
        stream = io.BytesIO(self._zip.read(info))
        reader = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        if reader(stream)[2].hasobject:
            return strings_from_pickle(stream.read())
        flat = load_member(self._zip, key, "it", limit=LARGEST).ravel()
        if flat.dtype.kind == "S":
            return [item.decode() for item in flat.tolist()]
        if flat.dtype.kind != "U":
            raise ValueError(f"it holds {flat.dtype}")
        plain = flat.astype(flat.dtype.newbyteorder("<"))  # numpy would make texts of code points that do not exist
        return [plain[i : i + 1].tobytes().decode("utf-32-le").rstrip("\0") for i in range(len(plain))]

    def scalar(self, key: str) -> float:
        """One finite number; :class:`DataError` as from :meth:`array`."""
        value = self.array(key)
        if value.size != 1 or not np.isfinite(value).all():
            raise DataError(f"{self.path}: key '{key}' has shape {value.shape}, expected one finite number")
        return float(value.reshape(()))

    def _require(self, key: str) -> None:
        if key not in self:
            have = shown(", ".join(sorted(self._names)) or "nothing", 120)
            raise DataError(f"{self.path}: key '{key}' is missing (the file holds {have}); write the trial again")
