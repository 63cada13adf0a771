"""Rows of a large file of a sealed folder, each block checked when it is first read."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hmu.checkpoints.sealed import BLOCK, Damaged, Seal

log = logging.getLogger(__name__)


class SealedRows:
    """A memory-mapped float32 array ``(rows, columns)`` that notices damage when it meets it.

    Checking a data set of 4 GB at every start would take seconds, from a slow disk a minute, for a command that reads a
    few hundred clips of it.

    Args:
        seal: of the folder, whose sizes have been compared. name: the file.
        mend: makes the folder again and gives its seal; without it, damage ends the command.
    """

    def __init__(self, seal: Seal, name: str, shape: tuple[int, int], mend: Callable[[], Seal] | None = None) -> None:
        self.name, self.shape, self._mend = name, shape, mend
        self._open(seal)

    def _open(self, seal: Seal) -> None:
        path, count = seal.folder / self.name, 4 * self.shape[0] * self.shape[1]
        if seal.sizes.get(self.name) != count:
            raise Damaged(seal.folder, f"{self.name} does not have {self.shape[0]} rows of {self.shape[1]} numbers")
        self._seal = seal
        self._rows: NDArray[np.float32] = (
            np.memmap(path, dtype=np.float32, mode="r", shape=self.shape) if count else np.empty(self.shape, np.float32)
        )
        self._bytes = self._rows.reshape(-1).view(np.uint8)
        self._unread = np.ones(len(seal.sums[self.name]), dtype=bool)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Rows by number (a copy) or a slice of them (as they lie on disk), ``(rows, columns)``.

        Raises:
            Damaged: in a process that cannot make the folder again.
        """
        if self._unread.any():
            self._check(np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else rows)
        return self._rows[rows]

    def _check(self, rows: NDArray[np.int64]) -> None:
        width = 4 * self.shape[1]
        blocks = len(self._unread)
        begun = np.bincount(rows * width // BLOCK, minlength=blocks + 1)  # rows that begin in each block, and that end
        ended = np.bincount((rows * width + width - 1) // BLOCK + 1, minlength=blocks + 1)
        touched = np.cumsum(begun - ended)[:blocks] > 0
        for block in np.flatnonzero(touched & self._unread).tolist():
            if zlib.crc32(self._bytes[block * BLOCK : (block + 1) * BLOCK].data) != self._seal.sums[self.name][block]:
                self._again(rows)
                return
            self._unread[block] = False

    def _again(self, rows: NDArray[np.int64]) -> None:
        if self._mend is None:
            raise Damaged(self._seal.folder, f"{self.name} is not what was written")
        mend, self._mend = self._mend, None  # a disk that damages it again ends the command
        self._open(mend())
        self._check(rows)
        self._mend = mend
