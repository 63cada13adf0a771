"""An epoch of training batches: packed and bucketed, against a loop over files. ``python -m benchmarks.loading``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from benchmarks.unlearning import demo
from hmu.data.captions import Caption
from hmu.data.datamodule import ClipBatches, EpochSampler, loader
from hmu.data.dataset import DatasetSource


class Epoch:
    """One epoch of shuffled batches of the same clips, in two ways.

    Args:
        source: the data set.
        batch: clips per batch.
    """

    def __init__(self, source: DatasetSource, batch: int) -> None:
        self.source, self.batch = source, batch
        clips = source.clips("train")
        self.loader = loader(
            ClipBatches(clips, "floor", training=True), EpochSampler(clips.lengths, batch, shuffle=True)
        )
        self.ids = source.split_ids("train")
        self.frames = {"ours": [0, 0], "plain": [0, 0]}  # real frames, and frames of the padded batches

    def ours(self) -> Sequence[Tensor]:
        """Memory-mapped pack, whole batches gathered at once, clips of like length together."""
        self.frames["ours"] = [0, 0]
        for batch in self.loader:
            self._count("ours", batch.lengths, batch.motion)
        return [torch.tensor(self.frames["ours"][0])]

    def plain(self) -> Sequence[Tensor]:
        """A motion file and a text file per clip, each padded to the longest length there is, stacked."""
        self.frames["plain"] = [0, 0]
        order = torch.randperm(len(self.ids)).tolist()
        for start in range(0, len(order), self.batch):
            items = [self._item(self.ids[i]) for i in order[start : start + self.batch]]
            motion, lengths = torch.stack([item[0] for item in items]), torch.tensor([item[1] for item in items])
            self._count("plain", lengths, motion)
        return [torch.tensor(self.frames["plain"][0])]

    def _item(self, clip: str) -> tuple[Tensor, int, str]:
        motion = np.load(self.source.motion_file(clip))
        length = min(len(motion), self.source.max_frames) // self.source.unit_length * self.source.unit_length
        padded = np.zeros((self.source.max_frames, motion.shape[1]), np.float32)
        padded[:length] = motion[:length]
        lines = self.source.text_file(clip).read_text(encoding="utf-8").splitlines()
        captions = [Caption.parse(line) for line in lines if line.strip()]
        return torch.from_numpy(padded), length, captions[int(torch.randint(len(captions), (1,)))].text

    def _count(self, side: str, lengths: Tensor, motion: Tensor) -> None:
        self.frames[side][0] += int(lengths.sum())
        self.frames[side][1] += motion.shape[0] * motion.shape[1]

    def share(self, side: str) -> str:
        """How much of the batches is padding."""
        real, all_ = self.frames[side]
        return f"{1 - real / all_:.0%}"


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point."""
    options = arguments(__doc__ or "", batch=32, clips=456).parse_args(argv)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        epoch = Epoch(demo(Path(folder), options.clips), options.batch)
        timings = measure([Pair("a file at a time, padded to 196", epoch.ours, epoch.plain, 0.0)], options.repeats)
        facts = {"clips": len(epoch.ids), "padding": f"{epoch.share('ours')} instead of {epoch.share('plain')}"}
        report("Training batches, files in the system's cache", timings, batch=options.batch, **facts)
    return timings


if __name__ == "__main__":
    main()
