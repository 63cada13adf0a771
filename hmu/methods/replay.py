"""The clips that training has met, for targets that depend on all of them."""

from __future__ import annotations

import torch

from hmu.backbones.base import Target

MOST = 512  # windows of gait: 19 MB


class Replay:
    """The last ``most`` targets of one side, in the order in which training meets them."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._stored: Target | None = None

    def add(self, target: Target) -> Target:
        """Store ``target`` ``(batch, frames, ...)`` and return all that is stored, padded to the longest."""
        target = target if self._stored is None else Target.concat([self._stored, target])
        rows = torch.arange(len(target), device=target.lengths.device)
        self._stored = target.select(rows[-self.most :])
        return self._stored
