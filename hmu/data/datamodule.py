"""The Lightning data module, and loaders that can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hmu.data.batch import MotionBatch
from hmu.data.clips import Crop, MotionClips
from hmu.data.dataset import DatasetSource
from hmu.data.sampling import EpochSampler, Request, Stream
from hmu.errors import DataError

T = TypeVar("T")


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
