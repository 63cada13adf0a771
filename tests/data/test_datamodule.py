"""Samplers and loaders: reproducible, fair, and independent of workers and processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hmu.data.datamodule as datamodule
from hmu.data.batch import MotionBatch
from hmu.data.datamodule import EpochSampler, MotionDataModule
from hmu.errors import DataError


def drawn(sampler) -> list[list[int]]:
    return [request.indices.tolist() for request in sampler]


@given(st.integers(1, 300), st.integers(1, 40), st.booleans(), st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_an_epoch_sees_every_entry_once(n: int, size: int, bucket: bool, seed: int) -> None:
    lengths = np.arange(n) % 37
    sampler = EpochSampler(lengths, size, shuffle=True, bucket=bucket, seed=seed)
    first, second = drawn(sampler), drawn(sampler)
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(n))
    assert len(first) == len(sampler)
    assert drawn(EpochSampler(lengths, size, shuffle=True, bucket=bucket, seed=seed)) == first
    sampler.set_epoch(1)
    assert drawn(sampler) == second


def test_orders_differ_between_epochs_and_buckets_hold_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(40, 200, 640)
    sampler = EpochSampler(lengths, 16, shuffle=True, seed=3, drop_last=True)
    first = drawn(sampler)
    assert first != drawn(sampler)
    spread = np.mean([np.ptp(lengths[b]) for b in first])
    loose = np.mean([np.ptp(lengths[b]) for b in drawn(EpochSampler(lengths, 16, shuffle=True, bucket=False, seed=3))])
    assert spread < loose / 5


def test_drop_last_keeps_batches_full_but_never_leaves_none() -> None:
    assert [len(b) for b in drawn(EpochSampler(np.ones(10), 4, shuffle=True, drop_last=True))] == [4, 4]
    assert [len(b) for b in drawn(EpochSampler(np.ones(3), 4, shuffle=True, drop_last=True))] == [3]
    sampler = EpochSampler(np.arange(10), 4, shuffle=True, drop_last=True)
    assert {i for _ in range(12) for b in drawn(sampler) for i in b} == set(range(10))  # the longest are not always cut


def test_processes_share_each_batch(monkeypatch) -> None:
    alone = drawn(EpochSampler(np.arange(23), 8, shuffle=True, seed=5))
    shares = []
    for rank in range(2):
        monkeypatch.setattr(datamodule, "group", lambda rank=rank: (rank, 2))
        shares.append(drawn(EpochSampler(np.arange(23), 8, shuffle=True, seed=5)))
    for batch, a, b in zip(alone, *shares, strict=True):
        assert len(a) == len(b)
        assert set(batch) == set(a) | set(b)


def test_loaders(make_source) -> None:
    module = MotionDataModule(make_source(), 4, seed=1)
    module.prepare_data()
    first = list(module.train_dataloader())
    again = list(module.train_dataloader())
    assert all(isinstance(b, MotionBatch) for b in first)
    assert [b.ids for b in first] == [b.ids for b in again]
    assert torch.equal(first[0].motion, again[0].motion)
    assert [b.ids for b in module.val_dataloader()] == [("e",)]


def test_workers_give_the_same_batches(make_source) -> None:
    alone = list(MotionDataModule(make_source(), 2, seed=1).train_dataloader())
    helped = list(MotionDataModule(make_source(), 2, seed=1, num_workers=2).train_dataloader())
    assert [b.ids for b in alone] == [b.ids for b in helped]
    assert all(torch.equal(a.motion, b.motion) for a, b in zip(alone, helped, strict=True))
    assert [b.texts for b in alone] == [b.texts for b in helped]


def test_windows_leave_short_clips_out_and_weigh_by_length(make_source) -> None:
    module = MotionDataModule(make_source(), 3, window=64, drop_last=False)
    seen = Counter(i for b in module.train_dataloader() for i in b.ids)
    assert seen == {"b": 1, "Mb": 1, "c": 3, "c#1": 2}
    assert all(b.lengths.tolist() == [64] * len(b) for b in module.train_dataloader())
    with pytest.raises(DataError, match="as long as a window"):
        MotionDataModule(make_source(), window=300).train_dataloader()


def test_one_side_of_a_partition(make_source) -> None:
    module = MotionDataModule(make_source(), 2, ids=["a", "b"], drop_last=False)
    assert {i for b in module.train_dataloader() for i in b.ids} == {"a", "b", "b#1"}
