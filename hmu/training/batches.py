"""Minibatches of one side, from targets and prompts that are encoded once."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmu.backbones.base import MotionBackbone, Target
from hmu.data.clips import MotionClips
from hmu.devices import of_module
from hmu.errors import ConfigError
from hmu.methods.base import Side
from hmu.progress import phase

CHUNK = 64
MOST_REPEATS = 10  # of a clip in one batch: beyond that the batch size is a slip of the pen

log = logging.getLogger(__name__)


def check_batch(key: str, batch: int, clips: int) -> None:
    """Warn of a batch that is larger than the data, so that it is cut or repeats clips; refuse one far larger.

    ``key`` is how the user writes it, ``clips`` what there is to draw from.

    Raises:
        ConfigError: more than :data:`MOST_REPEATS` times as many.
    """
    if batch > MOST_REPEATS * clips:
        raise ConfigError(f"{key}={batch}: there are {clips} clips (or windows) to draw from; give at most so many")
    if batch > clips:
        log.warning("%s=%d, but there are %d clips (or windows): a smaller batch does the same", key, batch, clips)


def plan(clips: int, batch: int, steps: int, seed: int) -> Tensor:
    """Which clips and captions each step uses: int64 ``(2, steps, batch)``.

    The clips are dealt from freshly shuffled decks, one after the other, so that every clip is used equally often
    whichever side is shorter. The second layer is a random number that picks a caption modulo the clip's captions.
    """
    generator = torch.Generator().manual_seed(seed)
    passes = -(-steps * batch // clips)
    decks = torch.cat([torch.randperm(clips, generator=generator) for _ in range(passes)])
    captions = torch.randint(0, 2**31, (steps * batch,), generator=generator)
    return torch.stack([decks[: steps * batch], captions]).view(2, steps, batch)


class SideCache(Dataset[Side]):
    """Minibatches by step. Clips that the plan uses are encoded once, in chunks; prompts once by the backbone's cache.

    ``steps`` is this process's part of :func:`plan`, ``(2, steps, batch)``. Nothing in the backbone may train then.
    """

    def __init__(self, backbone: MotionBackbone, clips: MotionClips, steps: Tensor) -> None:
        self.backbone, self.clips = backbone, clips
        self.used, self.rows = torch.unique(steps[0], return_inverse=True)
        pairs = steps.permute(1, 2, 0).tolist()  # by step: clip and caption of each item
        self.texts = [[clips.caption(clip, which).text for clip, which in step] for step in pairs]
        by_length = torch.argsort(torch.as_tensor(clips.lengths)[self.used], stable=True)  # little padding in a chunk
        with phase("encoding clips", len(self.used), "clips") as done:
            parts = []
            for chunk in by_length.split(CHUNK):
                parts.append(self._encode(self.used[chunk]))
                done.advance(len(chunk))
        self.target = Target.concat(parts).select(torch.argsort(by_length))

    def _encode(self, indices: Tensor) -> Target:
        device = of_module(self.backbone)
        with torch.no_grad():
            return self.backbone.encode_target(self.clips.batch(indices.tolist()).to(device)).to("cpu")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, step: int) -> Side:
        """The minibatch of ``step``."""
        with torch.no_grad():
            condition = self.backbone.encode_text(self.texts[step])
        return Side(self.target.select(self.rows[step]), condition)
