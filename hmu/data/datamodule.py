"""Which entries make up which batch, loaders that can be taken up anywhere, and the Lightning data module.

Batches are reproducible from a seed, the same for any number of processes and workers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from hmu.data.batch import MotionBatch
from hmu.data.clips import Crop, MotionClips
from hmu.data.dataset import DatasetSource
from hmu.errors import DataError
from hmu.processes import group

T = TypeVar("T")
BUCKETED_BATCHES = 50  # entries are sorted by length within so many batches: little padding, still well shuffled

Indices = NDArray[np.int64]


class Request(NamedTuple):
    """One batch to gather: entry numbers ``(batch,)``, and the seed of its random crops and caption choices."""

    indices: Indices
    seed: int


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
        rank, world = group()
        for step, indices in enumerate(self._batches(epoch)):
            if step >= first:
                seed = _seeds(self.seed, 3, epoch, step, rank).generate_state(1, np.uint64)[0] >> 1
                # every process gets equally many: a few entries are repeated where needed
                whole = np.concatenate([indices, np.resize(indices, -len(indices) % world)])
                yield Request(whole[rank::world], int(seed))


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


@dataclass
class ClipBatches(Dataset[MotionBatch]):
    """Gathers a whole batch per request, so that no item is collated one by one.

    In training a request's seed draws captions and crops; otherwise captions are the first ones, and windows the same
    every time.
    """

    clips: MotionClips
    crop: Crop
    training: bool

    def __getitem__(self, request: Request) -> MotionBatch:
        seed = request.seed if self.training else int(request.indices[0])
        caption: Literal["random", "first"] = "random" if self.training else "first"
        generator = torch.Generator().manual_seed(seed)
        return self.clips.batch(request.indices, caption=caption, crop=self.crop, generator=generator)


def as_is(batch: T) -> T:
    """The collate function of batches that are complete already."""
    return batch


class ResumableLoader(DataLoader[T]):
    """A loader that knows how many batches it has given: Lightning keeps its state in checkpoints and hands it back."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.given = 0

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        self.given = self.sampler.start if isinstance(self.sampler, Stream) else 0
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches were given."""
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin behind those that were given."""
        if isinstance(self.sampler, Stream):
            self.sampler.start = state["given"]


def loader(dataset: Dataset[Any], sampler: Sampler[Any], num_workers: int = 0) -> DataLoader[Any]:
    """A loader whose sampler asks for whole batches; workers stay alive between epochs."""
    return ResumableLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        collate_fn=as_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),  # draws once a pass: torch's own would depend on how often was validated
    )


@dataclass(eq=False)
class MotionDataModule(lightning.LightningDataModule):
    """Plain training and validation batches (:class:`MotionBatch`, real units).

    The trainer must leave samplers alone (``use_distributed_sampler=False``): each process draws its share.

    Attributes:
        batch_size: entries per batch over all processes together.
        window: frames of a random window per item (training a VAE); None = whole entries, cropped as published.
            Entries shorter than a window are left out; in an epoch an entry is drawn once per ``window`` frames it has.
        drop_last: training only; keeps every training batch full.
        ids: use only these clips (one side of a partition); None = all.
        num_workers: worker processes per loader; 0 is best on a small CPU.
        seed: with equal seeds, equal batches, whatever the number of workers.
        batches: training batches altogether, pass after pass as one long epoch that can be taken up anywhere; None =
            an epoch is one pass.
    """

    source: DatasetSource
    batch_size: int = 32
    _: KW_ONLY
    window: int | None = None
    drop_last: bool = True
    ids: Collection[str] | None = None
    num_workers: int = 0
    seed: int = 0
    batches: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self._clips: dict[str, MotionClips] = {}

    def prepare_data(self) -> None:
        """Generate and pack once, before the other processes look."""
        self.source.prepare()

    def clips(self, split: str) -> MotionClips:
        """The entries of a split that are long enough."""
        if split not in self._clips:
            clips = self.source.clips(split, self.ids)
            self._clips[split] = clips if self.window is None else _as_long_as(self.window, clips)
        return self._clips[split]

    def train_sampler(self) -> EpochSampler:
        """One pass over the training items, shuffled; ``len(sampler.items)`` says how many there are."""
        lengths = self.clips("train").lengths
        return EpochSampler(
            lengths,
            self.batch_size,
            shuffle=True,
            bucket=self.window is None,
            drop_last=self.drop_last,
            seed=self.seed,
            repeats=None if self.window is None else np.maximum(lengths // self.window, 1),
        )

    def train_dataloader(self) -> DataLoader[MotionBatch]:
        """Shuffled batches with random captions and crops (or windows)."""
        passes = self.train_sampler()
        sampler = passes if self.batches is None else Stream(passes, self.batches)
        batches = ClipBatches(self.clips("train"), self.window or "random", training=True)
        return loader(batches, sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[MotionBatch]:
        """Validation batches, the same ones every time."""
        clips = self.clips("val")
        sampler = EpochSampler(clips.lengths, self.batch_size, shuffle=False, seed=self.seed)
        return loader(ClipBatches(clips, self.window or "floor", training=False), sampler, self.num_workers)


def _as_long_as(window: int, clips: MotionClips) -> MotionClips:
    rows = np.flatnonzero(clips.lengths >= window)
    if not len(rows):
        longest = int(clips.lengths.max())
        raise DataError(f"no clip is as long as a window of {window} frames (longest: {longest})")
    return clips.subset(rows)
