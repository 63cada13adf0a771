"""One content-addressed cache: what a key stands for is made once, checked when it is read, made again where damaged.

Large arrays are sealed folders of their own, which stay on disk and are read page by page. Many small ones (embeddings
of prompts, codes of clips) are rows of one SQLite file, each with a checksum: one file in place of ten thousand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from hmu.checkpoints.sealed import SEAL, Damaged, Seal, checked, remove_leftovers, sealed_folder, set_aside, writing
from hmu.errors import DataError

log = logging.getLogger(__name__)

ARRAY, ROWS = "array.npy", "rows.sqlite"
Row = Mapping[str, Tensor]
_AT_ONCE = 500  # keys per question; SQLite takes at least 999
_WAIT = 60.0  # seconds for another process that writes


def content_key(*facts: object) -> str:
    """32 hexadecimal digits that stand for ``facts``: texts, numbers, lists and mappings of them."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class Store:
    """Tensors by key in one folder, which several processes may share and anybody may delete.

    Holds no open file: it may be copied, pickled and used after a fork.

    Args:
        folder: where; made when the first value is kept. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._sound = False  # whether this process has looked at what holds the rows together
        if folder is not None:
            remove_leftovers(folder)

    def __contains__(self, key: str) -> bool:
        return self.folder is not None and (self.folder / key / SEAL).is_file()

    def load(self, key: str) -> Tensor | None:
        """The tensor, any shape; None if it was never kept, or is damaged (:meth:`save` reports that).

        It stays on disk and is read page by page; what is done to it does not reach the file.
        """
        if self.folder is not None:
            with suppress(Damaged):
                return _mapped(checked(self.folder / key))
        return None

    def save(self, key: str, value: Tensor) -> Tensor:
        """Keep a tensor of any shape; returns it as :meth:`load` does, so that it need not stay in memory.

        Raises:
            DataError: the disk is full, or the folder cannot be written.
        """
        if self.folder is None:
            return value
        return _mapped(sealed_folder(self.folder / key, lambda folder: np.save(folder / ARRAY, value.numpy())))

    def get(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of ``key``, any shape, made where there is no sound one. Raises as :meth:`save` does."""
        value = self.load(key)
        if value is None:
            value = make()
            self.save(key, value)
        return value

    def check_room(self, sizes: Mapping[str, int], what: str) -> None:
        """Refuse to start ``what`` the disk cannot hold.

        ``sizes``: bytes to be kept, by key; what is there already takes no more room.

        Raises:
            DataError: there is too little space, or the folder cannot be written.
        """
        if self.folder is None:
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        needed = sum(size for key, size in sizes.items() if key not in self)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DataError(
                f"{self.folder}: {what} may need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: make room, name "
                "another place (paths.cache=), or ask less (suite.repeats=, suite.limits=)"
            )

    # -- many small ones -----------------------------------------------------------------------------------------------
    def get_rows(self, keys: Sequence[str], make: Callable[[list[int]], Sequence[Row]]) -> list[Row]:
        """The tensors (by name, any shapes) of every key, in order.

        ``make`` gives those for the positions among ``keys`` that are not kept yet. Raises as :meth:`save_rows` does.
        """
        rows = self.load_rows(keys)
        missing = [position for position, key in enumerate(keys) if key not in rows]
        if missing:
            fresh = dict(zip((keys[position] for position in missing), make(missing), strict=True))
            self.save_rows(fresh)
            rows.update(fresh)
        return [rows[key] for key in keys]

    def load_rows(self, keys: Sequence[str]) -> dict[str, Row]:
        """The tensors (by name, any shapes) of those keys that are kept.

        Damage is met where a row is read, and where one is looked for in vain for the first time: a damaged index must
        not hide it. It ends the whole file, so that rows are made again together, as in the first time.
        """
        path = None if self.folder is None else self.folder / ROWS
        if path is None or not path.exists():
            return {}
        rows: dict[str, Row] = {}
        try:
            for begin in range(0, len(keys), _AT_ONCE):
                rows.update(_read_rows(path, keys[begin : begin + _AT_ONCE]))
            if not self._sound and not rows.keys() >= set(keys):
                _check_index(path)
                self._sound = True
        except Damaged as damage:
            log.warning("%s: damaged (%s), made again", path, damage.reason)
            path.with_name(f"{ROWS}-journal").unlink(missing_ok=True)  # of the old file: it must not meet the new one
            set_aside(path)
            return {}
        except sqlite3.Error as error:  # locked for long, no locks on this disk …: a cache is no reason to fail
            log.warning("%s: cannot be read (%s)", path, error)
        return rows

    def save_rows(self, rows: Mapping[str, Row]) -> None:
        """Keep tensors by key and name, all or none.

        Raises:
            DataError: the disk is full, or the file cannot be written.
        """
        if self.folder is None or not rows:
            return
        path = self.folder / ROWS
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                _write_rows(path, rows)
            except sqlite3.Error as error:
                raise OSError(0, str(error), str(path)) from error


def _mapped(seal: Seal) -> Tensor:
    return torch.from_numpy(np.load(seal.folder / ARRAY, allow_pickle=False, mmap_mode="c"))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_WAIT)) as connection, connection:
        yield connection


def _checksum(path: Path, key: str, value: bytes) -> int:
    """CRC-32 of a row, bound to its key and folder."""
    return zlib.crc32(value, zlib.crc32(f"{path.parent.name}/{key}".encode()))


def _read_rows(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, Row]]:
    question = f"SELECT key, sum, value FROM rows WHERE key IN ({','.join('?' * len(keys))})"
    for key, expected, value in _answers(path, question, keys):
        if not isinstance(value, bytes) or _checksum(path, key, value) != expected:
            raise Damaged(path, "a row is not what was written")
        yield key, safetensors.torch.load(value)


def _check_index(path: Path) -> None:
    """Raises :class:`Damaged` where rows cannot all be found by their keys. Reads the file once (1 GB/s)."""
    ((state,),) = _answers(path, "PRAGMA integrity_check(1)")
    if state != "ok":
        raise Damaged(path, "its index is not what was written")


def _answers(path: Path, question: str, values: Sequence[str] = ()) -> list[Any]:
    """All rows of SQLite's answer. Raises :class:`Damaged`, or ``sqlite3.Error`` where it could not look."""
    try:
        with _opened(path) as connection:
            return connection.execute(question, values).fetchall()
    except sqlite3.Error as error:
        environment = isinstance(error, sqlite3.OperationalError) and not str(error).startswith("no such")
        if environment and path.is_file():
            raise
        raise Damaged(path, str(error)) from error


def _write_rows(path: Path, rows: Mapping[str, Row]) -> None:
    values = {
        key: safetensors.torch.save({name: x.contiguous() for name, x in row.items()}) for key, row in rows.items()
    }
    with _opened(path) as connection:
        # what a power cut tears is noticed by the checksums and made again; a killed process tears nothing
        connection.execute("PRAGMA page_size=16384")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, sum INTEGER, value BLOB)")
        sealed = ((key, _checksum(path, key, value), value) for key, value in values.items())
        connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", sealed)
