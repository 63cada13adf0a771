"""The clips that training has seen, for answers that depend on all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.backbones.base import Target

MOST = 512  # windows of gait: 19 MB


class Memory:
    """The last :data:`MOST` targets of one side, in the order in which training meets them."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._kept: Target | None = None

    def add(self, target: Target) -> Target:
        """Remember ``target`` and return all that is remembered, padded to the longest."""
        if self._kept is not None:
            names, old = target.tensors, self._kept
            joined = {name: _stack(old.tensors[name], names[name]) for name in names}
            target = Target(joined, torch.cat([old.lengths, target.lengths]))
        everything = torch.arange(len(target), device=target.lengths.device)
        self._kept = target.select(everything[-self.most :])
        return self._kept


def _stack(first: Tensor, second: Tensor) -> Tensor:
    """Rows of both, the shorter time axis (the second one) padded with zeros."""
    longest = max(first.shape[1], second.shape[1])
    return torch.cat(
        [torch.cat([x, x.new_zeros(len(x), longest - x.shape[1], *x.shape[2:])], 1) for x in (first, second)]
    )
