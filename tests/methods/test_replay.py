"""What training remembers of a side."""

from __future__ import annotations

import torch

from hmu.backbones.base import Target
from hmu.methods.replay import Replay


def target(lengths: list[int], value: float) -> Target:
    longest = max(lengths)
    return Target({"states": torch.full((len(lengths), longest, 2), value)}, torch.tensor(lengths))


def test_targets_of_different_lengths_are_stored_in_order():
    replay = Replay()
    replay.add(target([3, 2], 1.0))
    stored = replay.add(target([5], 2.0))
    assert stored.lengths.tolist() == [3, 2, 5]
    assert stored.tensors["states"].shape == (3, 5, 2)
    assert stored.tensors["states"][:, :, 0].sum(1).tolist() == [3.0, 3.0, 10.0]


def test_the_oldest_are_forgotten():
    replay = Replay(most=2)
    replay.add(target([3], 1.0))
    stored = replay.add(target([3, 3], 2.0))
    assert stored.tensors["states"][:, 0, 0].tolist() == [2.0, 2.0]
