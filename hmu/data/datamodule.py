"""The Lightning data module, and loaders that can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

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


class ClipBatches(Dataset[MotionBatch]):
    """Gathers a whole batch per request, so that no item is collated one by one."""

    def __init__(self, clips: MotionClips, *, caption: Any = "first", crop: Crop = "floor") -> None:
        self.clips, self.caption, self.crop = clips, caption, crop

    def __getitem__(self, request: Request) -> MotionBatch:
        choices = {"caption": self.caption, "crop": self.crop, "generator": request.generator}
        return self.clips.batch(request.indices, **choices)


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
    """A loader whose sampler asks for whole batches; workers stay alive between epochs.

    Requests bring their own seeds. The generator is for the loader's own draw at the start of every pass, which would
    otherwise take a number from torch's global one, whose noise would then depend on how often was validated.
    """
    return ResumableLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        collate_fn=as_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),
    )


class MotionDataModule(lightning.LightningDataModule):
    """Plain training, validation and test batches (:class:`MotionBatch`, real units).

    The trainer must leave samplers alone (``use_distributed_sampler=False``): each process draws its share.

    Args:
        source: the data set.
        batch_size: entries per batch over all processes together.
        window: frames of a random window per item (training a VAE); None = whole entries, cropped as published.
            Entries shorter than a window are left out; in an epoch an entry is drawn once per ``window`` frames it has.
        caption: which caption a training item carries, ``first`` or ``random``.
        crop: how a training item is cropped when there is no window, see :meth:`MotionClips.batch`.
        bucket: training batches hold entries of like length.
        drop_last: training only; keeps every training batch full.
        ids: use only these clips for training and validation (one side of a partition); None = all.
        train, val, test: split names.
        num_workers: worker processes per loader; 0 is best on a small CPU.
        seed: with equal seeds, equal batches, whatever the number of workers.
        batches: training batches altogether, pass after pass as one long epoch that can be taken up anywhere; None =
            an epoch is one pass.
    """

    def __init__(
        self,
        source: DatasetSource,
        batch_size: int = 32,
        *,
        window: int | None = None,
        caption: str = "random",
        crop: Crop = "random",
        bucket: bool = True,
        drop_last: bool = True,
        ids: Collection[str] | None = None,
        train: str = "train",
        val: str = "val",
        test: str = "test",
        num_workers: int = 0,
        seed: int = 0,
        batches: int | None = None,
    ) -> None:
        super().__init__()
        self.source, self.batch_size, self.window, self.seed = source, batch_size, window, seed
        self.batches = batches
        self.caption, self.crop, self.bucket, self.drop_last = caption, crop, bucket, drop_last
        self.ids = None if ids is None else frozenset(ids)
        self.split_names = {"train": train, "val": val, "test": test}
        self.num_workers = num_workers
        self._clips: dict[str, MotionClips] = {}

    def prepare_data(self) -> None:
        """Generate and pack once, before the other processes look."""
        self.source.prepare()

    def clips(self, stage: str) -> MotionClips:
        """The entries of ``train``, ``val`` or ``test``."""
        if stage not in self._clips:
            clips = self.source.clips(self.split_names[stage], None if stage == "test" else self.ids)
            self._clips[stage] = clips if self.window is None else self._long_enough(clips)
        return self._clips[stage]

    def _long_enough(self, clips: MotionClips) -> MotionClips:
        rows = np.flatnonzero(clips.lengths >= (self.window or 0))
        if not len(rows):
            longest = int(clips.lengths.max())
            raise DataError(f"no clip is as long as a window of {self.window} frames (longest: {longest})")
        return clips.subset(rows)

    def train_sampler(self) -> EpochSampler:
        """One pass over the training items, shuffled; ``len(sampler.items)`` says how many there are."""
        clips = self.clips("train")
        return EpochSampler(
            clips.lengths,
            self.batch_size,
            shuffle=True,
            bucket=self.bucket and self.window is None,
            drop_last=self.drop_last,
            seed=self.seed,
            repeats=None if self.window is None else np.maximum(clips.lengths // self.window, 1),
        )

    def train_dataloader(self) -> DataLoader[MotionBatch]:
        """Shuffled batches with random captions and crops (or windows)."""
        passes = self.train_sampler()
        sampler = passes if self.batches is None else Stream(passes, self.batches)
        crop: Crop = self.crop if self.window is None else self.window
        return loader(ClipBatches(self.clips("train"), caption=self.caption, crop=crop), sampler, self.num_workers)

    def _fixed(self, stage: str) -> DataLoader[MotionBatch]:
        clips = self.clips(stage)
        sampler = EpochSampler(clips.lengths, self.batch_size, shuffle=False, seed=self.seed)
        crop: Crop = "floor" if self.window is None else self.window
        return loader(_Fixed(clips, caption="first", crop=crop), sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[MotionBatch]:
        """Validation batches, the same ones every time."""
        return self._fixed("val")

    def test_dataloader(self) -> DataLoader[MotionBatch]:
        """Test batches, the same ones every time."""
        return self._fixed("test")


class _Fixed(ClipBatches):
    """Random windows, but the same ones every epoch."""

    def __getitem__(self, request: Request) -> MotionBatch:
        return super().__getitem__(Request(request.indices, int(request.indices[0])))
