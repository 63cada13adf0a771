"""Code statistics for LCR: batched, ranked layers only, equal windows once; against clip by clip with all quantisers.

``python -m benchmarks.codes``; the single pass on more clips:  ``python -m benchmarks.codes --clips 100 --crops 0``
the published size of one data set:  ``python -m benchmarks.codes --whole 10000``
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from hmu.backbones.momask import MoMask
from hmu.compose import configured
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.methods.codebook.encoding import encode, windows
from hmu.methods.codebook.ranking import best, log_odds, usage
from hmu.methods.codebook.table import CodeTable

FORGET = 10  # one clip in ten is of the forget side
PRIOR, TOP = 10.0, 16


class Walks:
    """Clips of HumanML3D's range of lengths (40 to 196 frames, mean near 140) cut from one long random walk."""

    unit_length, max_frames, features = 4, 196, 263

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self.lengths: NDArray[np.int64] = np.clip(generator.normal(145, 50, count), 40, 199).astype(np.int64)
        steps = torch.randn(20_000, self.features, generator=torch.Generator().manual_seed(0))
        walk = steps.cumsum(0)
        self.walk = (walk - walk.mean(0)) / walk.std(0)
        self.begin = generator.integers(0, len(self.walk) - 200, count)
        self.ids = tuple(f"{i:06d}" for i in range(count))
        self.texts = [""] * count

    def __len__(self) -> int:
        return len(self.lengths)

    def windows(self, indices: NDArray[np.int64], start: NDArray[np.int64], lengths: NDArray[np.int64]) -> MotionBatch:
        """As :meth:`hmu.data.clips.MotionClips.windows`."""
        frames = np.arange(int(lengths.max()))
        rows = torch.from_numpy((self.begin[indices] + start)[:, None] + frames)
        motion = self.walk[rows] * torch.from_numpy(frames[None] < lengths[:, None])[..., None]
        ids = tuple(self.ids[int(i)] for i in indices)
        return MotionBatch(motion, torch.from_numpy(lengths), (Caption(""),) * len(indices), ids)


def published() -> MoMask:
    """The tokenizer at its published size (512 codes of 512, 6 layers), with random weights and codes."""
    torch.manual_seed(0)
    small = {"latent_dim": 8, "n_heads": 1, "n_layers": 1, "ff_size": 8}
    model = configured(
        "backbone", "momask", checkpoint=None, text=None, text_width=8, masked=small, residual=small, length=None
    ).eval()
    latent = model.rvq.latents(model.statistics.normalise(Walks(1).walk[None, :196], torch.tensor([196])))
    for codes in model.codebooks().values():
        codes.copy_(latent.mean() + latent.std() * torch.randn(codes.shape) * 0.5)
    return model


def scores(table: CodeTable, clips: Walks, codes: int) -> list[Tensor]:
    """Log-odds of every code of layer 0."""
    forget = np.array([int(name) % FORGET == 0 for name in table.names])
    return [torch.from_numpy(log_odds(usage(table.codes[:, 0], forget, codes), PRIOR)[0])]


def plain(model: MoMask, clips: Walks, crops: int, pad: bool = False) -> CodeTable:
    """One window after the other, all quantisers; ``crops`` = 0: each clip once.

    ``pad``: every window is padded with zeros to 196 frames first, as in the published loop. Its last tokens then read
    padding, so that the result is only nearly the same.
    """
    if crops:
        start, lengths = windows(clips, crops)  # type: ignore[arg-type]
    else:
        start, lengths = np.zeros((len(clips), 1), np.int64), (np.minimum(clips.lengths, 196) // 4 * 4)[:, None]
    rows = np.full((start.size, model.rvq.options.quantizers, 49), -1, np.int16)
    names = [name for name in clips.ids for _ in range(start.shape[1])]
    with torch.no_grad():
        for row, (a, n) in enumerate(zip(start.ravel(), lengths.ravel(), strict=True)):
            batch = clips.windows(np.array([row // start.shape[1]]), np.array([a]), np.array([n]))
            if pad:
                motion = torch.nn.functional.pad(batch.motion, (0, 0, 0, 196 - int(n)))
                batch = MotionBatch(motion, torch.tensor([196]), batch.captions, batch.ids)
            ids = model.encode_codes(batch)[0].T[:, : int(n) // 4]
            rows[row, :, : ids.shape[1]] = ids.numpy()
    return CodeTable(tuple(names), ("0",) * len(names), ("",) * len(names), rows)


def whole(model: MoMask, count: int, batch: int) -> None:
    """A data set of ``count`` clips from encoding to chosen codes, in units of a matrix product, and peak memory."""
    clips, unit = Walks(count), matrix_product()
    begin = time.perf_counter()
    table = encode(model, clips, batch, layers=1)  # type: ignore[arg-type]
    found = scores(table, clips, model.rvq.options.codes)[0].numpy()
    chosen = best(found, TOP)
    spent = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
    print(f"{count} clips, {len(chosen)} codes: {spent / unit:.0f} products of 2048 x 2048, peak memory {peak:.2f} GB")


def matrix_product() -> float:
    """Seconds of one 2048 x 2048 float32 product, median of 7: a unit that survives a change of machine."""
    a, times = torch.randn(2048, 2048), []
    for _ in range(7):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return sorted(times)[3]


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point."""
    options = arguments(__doc__ or "", clips=40, batch=24, crops=20, captions=3, whole=0).parse_args(argv)
    torch.set_num_threads(options.threads)
    model, clips = published(), Walks(options.clips)
    codes = model.rvq.options.codes
    if options.whole:
        whole(model, options.whole, options.batch)
        return []

    def pair(name: str, crops: int, pad: bool) -> Pair:
        return Pair(
            name + (", padded to 196 frames as published" if pad else ""),
            lambda: scores(encode(model, clips, options.batch, layers=1, crops=crops), clips, codes),  # type: ignore[arg-type]
            lambda: scores(plain(model, clips, crops, pad), clips, codes),
            tolerance=None if pad else 1e-4,
        )

    windowed = f"{options.crops} random windows for each of {options.captions} captions"
    settings = [("each clip once", 0), *([(windowed, options.crops * options.captions)] if options.crops else [])]
    pairs = [pair(name, crops, pad) for name, crops in settings for pad in (False, True)]
    timings = measure(pairs, options.repeats)
    report("LCR code statistics", timings, clips=options.clips, batch=options.batch)
    return timings


if __name__ == "__main__":
    main()
