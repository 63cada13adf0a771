"""Which entries make up which batch: reproducible from a seed, the same for any number of processes and workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from hmu.processes import group

BUCKETED_BATCHES = 50  # entries are sorted by length within so many batches: little padding, still well shuffled

Indices = NDArray[np.int64]


class Request(NamedTuple):
    """One batch to gather: entry numbers ``(batch,)``, and the seed of its random crops and caption choices."""

    indices: Indices
    seed: int


def share(indices: Indices) -> Indices:
    """This process's share of a batch; every process gets equally many (a few entries are repeated where needed)."""
    rank, world = group()
    missing = -len(indices) % world
    return np.concatenate([indices, np.resize(indices, missing)])[rank::world]


def _seeds(*key: int) -> np.random.SeedSequence:
    """Randomness that depends on nothing but ``key``."""
    return np.random.SeedSequence([k & 0xFFFFFFFF for k in key])


@dataclass(eq=False)
class EpochSampler(Sampler[Request]):
    """Batches of one pass over the entries.

    Attributes:
        lengths: frames per entry ``(entries,)``; used to put entries of like length into one batch.
        batch_size: entries per batch over all processes together; each process gets its share.
        shuffle: a new order every epoch; otherwise in order.
        bucket: group by length (only with ``shuffle``).
        drop_last: leave out the last, smaller batch (unless it is the only one).
        seed: with equal seeds, equal batches.
        repeats: how often each entry is drawn per epoch ``(entries,)``; None = once.
    """

    lengths: Indices
    batch_size: int
    _: KW_ONLY
    shuffle: bool
    bucket: bool = True
    drop_last: bool = False
    seed: int = 0
    repeats: Indices | None = None

    def __post_init__(self) -> None:
        self.epoch = 0
        items = np.arange(len(self.lengths))
        self.items = items if self.repeats is None else np.repeat(items, self.repeats)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls it. Without a call each pass advances by itself."""
        self.epoch = epoch

    def __len__(self) -> int:
        full = len(self.items) // self.batch_size
        return full if self.drop_last and full else math.ceil(len(self.items) / self.batch_size)

    def _batches(self, epoch: int) -> list[Indices]:
        order = self.items
        if self.shuffle:
            # what drop_last leaves out is cut off before sorting, else it would always be the longest entries
            order = np.random.default_rng(_seeds(self.seed, 1, epoch)).permutation(order)[: len(self) * self.batch_size]
            if self.bucket:
                chunk = self.batch_size * BUCKETED_BATCHES
                pieces = [order[i : i + chunk] for i in range(0, len(order), chunk)]
                order = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pieces])
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)][: len(self)]
        if not self.shuffle:
            return batches
        return [batches[i] for i in np.random.default_rng(_seeds(self.seed, 2, epoch)).permutation(len(batches))]

    def __iter__(self) -> Iterator[Request]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        yield from self.requests(epoch)

    def requests(self, epoch: int, first: int = 0) -> Iterator[Request]:
        """The batches of pass ``epoch`` from number ``first`` on."""
        rank, _ = group()
        for step, indices in enumerate(self._batches(epoch)):
            if step >= first:
                seed = _seeds(self.seed, 3, epoch, step, rank).generate_state(1, np.uint64)[0] >> 1
                yield Request(share(indices), int(seed))


@dataclass(eq=False)
class Stream(Sampler[Request]):
    """``batches`` of an :class:`EpochSampler`, pass after pass, one long pass that begins after ``start`` of them."""

    passes: EpochSampler
    batches: int
    start: int = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Request]:
        number, each = self.start, len(self.passes)
        while number < self.batches:
            epoch, first = divmod(number, each)
            for request in self.passes.requests(epoch, first):
                if number == self.batches:
                    return
                yield request
                number += 1
