"""The typed batch that travels between data, backbones, methods and evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmu.data.captions import Caption


@dataclass(frozen=True)
class MotionBatch:
    """Motions with their captions, in real units.

    Attributes:
        motion: metres, radians, *not* normalised ``(batch, frames, features)``, zero beyond each clip's length. Whoever
            consumes it normalises with *its own* statistics and masks after.
        lengths: true number of frames per clip ``(batch,)``, int64.
        ids: clip ids (a line of a split file, plus ``#k`` for the k-th entry of a clip).
    """

    motion: Tensor
    lengths: Tensor
    captions: tuple[Caption, ...]
    ids: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The captions' plain texts, in order."""
        return [caption.text for caption in self.captions]

    def __len__(self) -> int:
        return int(self.motion.shape[0])

    def to(self, device: torch.device | str) -> MotionBatch:
        """The same batch with its tensors on ``device``."""
        return replace(self, motion=self.motion.to(device), lengths=self.lengths.to(device))


def length_mask(lengths: Tensor, frames: int) -> Tensor:
    """True where a frame belongs to the clip; ``lengths`` ``(batch,)`` -> bool ``(batch, frames)``."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]


def stack_padded(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors ``(batch, frames, ...)`` or ``(batch,)`` one under the other, shorter ones padded with zeros (False)."""
    if tensors[0].dim() < 2:
        return torch.cat(list(tensors))
    longest = max(t.shape[1] for t in tensors)
    return torch.cat([torch.cat([t, t.new_zeros(len(t), longest - t.shape[1], *t.shape[2:])], 1) for t in tensors])
