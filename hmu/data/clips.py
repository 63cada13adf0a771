"""The entries of a split, backed by the packed motions, and how batches are gathered from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.packed import Pack
from hmu.data.reading import EntryTable
from hmu.errors import DataError

Crop = Literal["floor", "random"] | int
Indices = NDArray[np.int64]
DOUBLE_SHARE = 1.0 / 3.0  # published coin: single, single, double


@dataclass(frozen=True)
class MotionClips:
    """The entries of one selection of a data set.

    Motions stay in the memory-mapped pack and captions are decoded when asked for, so copying this object to worker
    processes costs a few arrays of one number per entry.

    Attributes:
        unit_length, max_frames: lengths handed out are multiples of so many frames; the longest of them.
        exact_tokens: published token splitting, see :class:`hmu.data.reading.Rule`.
    """

    pack: Pack
    table: EntryTable
    unit_length: int
    max_frames: int
    exact_tokens: bool

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of every entry before any cropping ``(entries,)``."""
        return self.table.stop - self.table.start

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Entry ids: the clip's id, plus ``#k`` where the entry is line ``k`` of the caption file."""
        names = (self.pack.ids[clip] for clip in self.table.clip.tolist())
        return tuple(n if k < 0 else f"{n}#{k}" for n, k in zip(names, self.table.number.tolist(), strict=True))

    @cached_property
    def clip_ids(self) -> tuple[str, ...]:
        """The clip (a line of a split file) that each entry belongs to."""
        return tuple(self.pack.ids[clip] for clip in self.table.clip.tolist())

    @property
    def texts(self) -> list[str]:
        """The first caption of every entry."""
        return [self.caption(i, 0).text for i in range(len(self))]

    @cached_property
    def _begin(self) -> NDArray[np.int64]:
        """First row of every entry in the packed motions."""
        return self.pack.offsets[self.table.clip] + self.table.start

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content and of the selection; a key for caches of things computed per entry."""
        digest = hashlib.sha256(self.pack.fingerprint.encode())
        for column in (self.table.clip, self.table.start, self.table.stop, self.table.number):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(f"{self.unit_length}|{self.max_frames}".encode())
        return digest.hexdigest()

    def caption(self, index: int, which: int) -> Caption:
        """Caption ``which`` (modulo their number) of entry ``index``."""
        rows = self.table.lines[self.table.first[index] : self.table.first[index] + self.table.count[index]]
        return Caption.parse(self.pack.line(int(rows[which % len(rows)])), self.exact_tokens)

    @cached_property
    def captions(self) -> tuple[tuple[Caption, ...], ...]:
        """All captions of every entry. Not for hot paths: decodes them all."""
        return tuple(tuple(self.caption(i, k) for k in range(n)) for i, n in enumerate(self.table.count.tolist()))

    def subset(self, indices: Sequence[int] | NDArray[np.int64] | Tensor) -> MotionClips:
        """The entries ``indices`` ``(n,)`` in that order, sharing the pack."""
        return replace(self, table=self.table.take(np.asarray(indices, dtype=np.int64)))

    def batch(
        self,
        indices: Sequence[int] | NDArray[np.int64] | Tensor,
        *,
        caption: Literal["first", "random"] | int = "first",
        crop: Crop = "floor",
        generator: torch.Generator | None = None,
    ) -> MotionBatch:
        """Gather entries into one batch in real units, zero beyond each length, padded to the longest among them.

        Args:
            indices: which entries ``(batch,)``.
            caption: ``first``, ``random`` (uniform), or a number taken modulo an entry's captions.
            crop: ``floor``: from the first frame, as many whole units as fit (at most ``max_frames``);
                ``random``: the published augmentation: with probability 1/3 one unit less, at a random start;
                a number: a window of so many frames at a random start.
            generator: source of the random choices; None = torch's global one.

        Raises:
            DataError: if a window is longer than an entry.
        """
        rows = np.asarray(indices, dtype=np.int64)
        start, lengths = self._crop(rows, crop, generator)
        if caption == "random":
            which = _uniform(self.table.count[rows] - 1, generator)
        else:
            which = np.full(len(rows), 0 if caption == "first" else int(caption), dtype=np.int64)
        return self.windows(rows, start, lengths, which)

    def windows(self, indices: Indices, start: Indices, lengths: Indices, which: Indices | None = None) -> MotionBatch:
        """Frames ``start : start + length`` of each entry, with caption ``which`` (or the first), all ``(batch,)``."""
        frames = np.arange(int(lengths.max(initial=0)))[None, :]
        inside = frames < lengths[:, None]
        motion = np.zeros((*inside.shape, int(self.pack.motion.shape[1])), dtype=np.float32)
        motion[inside] = self.pack.motion[((self._begin[indices] + start)[:, None] + frames)[inside]]
        rows = zip(indices.tolist(), np.zeros_like(indices) if which is None else which, strict=True)
        captions = tuple(self.caption(i, int(k)) for i, k in rows)
        ids = tuple(self.ids[i] for i in indices.tolist())
        return MotionBatch(torch.from_numpy(motion), torch.from_numpy(np.array(lengths)), captions, ids)

    def _crop(self, rows: Indices, crop: Crop, generator: torch.Generator | None) -> tuple[Indices, Indices]:
        """First frame (within the entry) and length of each item, both ``(batch,)``."""
        full, unit = self.lengths[rows], self.unit_length
        if isinstance(crop, int):
            if (full < crop).any():
                short = self.ids[int(rows[int(np.argmin(full))])]
                raise DataError(f"a window of {crop} frames does not fit clip '{short}' of {int(full.min())} frames")
            return _uniform(full - crop, generator), np.full_like(full, crop)
        units = np.minimum(full, self.max_frames) // unit
        if crop == "floor":
            return np.zeros_like(full), units * unit
        if crop != "random":
            raise DataError(f"crop is '{crop}'; expected floor, random or a number of frames")
        double = np.zeros(len(rows), dtype=bool)
        if unit < 10:
            double = torch.rand(len(rows), generator=generator).numpy() < DOUBLE_SHARE
        lengths = np.maximum(units - double, 1) * unit
        return _uniform(full - lengths, generator), lengths


def _uniform(highest: Indices, generator: torch.Generator | None) -> Indices:
    """One uniform whole number in ``0..highest`` for each element."""
    drawn = torch.rand(len(highest), generator=generator, dtype=torch.float64).numpy()
    return np.minimum((drawn * (highest + 1)).astype(np.int64), highest)
