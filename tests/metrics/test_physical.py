"""Physical sanity of motions: known cases, batches and order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import DataError
from hmu.metrics.base import EvalSamples
from hmu.metrics.physical import ContactShare, Energy, FootSkate, Jerk, Physical

ALL = [FootSkate, ContactShare, Jerk, Energy]


def motions(count: int = 6, still: bool = False) -> EvalSamples:
    generator = torch.Generator().manual_seed(0)
    pose = torch.rand(count, 1, 22, 3, generator=generator)
    pose[:, :, [7, 8, 10, 11], 1] = 0  # ankles and toes on the floor
    steps = 0.02 * torch.randn(count, 24, 22, 3, generator=generator)
    joints = pose + (torch.zeros_like(steps) if still else steps.cumsum(1))
    lengths = torch.arange(24, 24 - count, -1)
    return EvalSamples(joints=joints, lengths=lengths, ids=tuple(f"m{i}" for i in range(count)))


def take(whole: EvalSamples, rows: list[int]) -> EvalSamples:
    longest = int(whole["lengths"][rows].max())  # as a loader would pad this batch
    ids = tuple(f"m{i}" for i in rows)
    return EvalSamples(joints=whole["joints"][rows, :longest], lengths=whole["lengths"][rows], ids=ids)


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(6)), size=st.integers(1, 6))
def test_values_do_not_depend_on_batches_or_order(kind, order, size):
    whole, metric, parts = motions(), kind(), kind()
    metric.update(whole)
    for start in range(0, 6, size):
        parts.update(take(whole, list(order[start : start + size])))
    assert parts.compute() == pytest.approx(metric.compute(), rel=1e-9)
    for name, values in metric.per_prompt().items():
        assert parts.per_prompt()[name].tolist() == pytest.approx(values.tolist(), rel=1e-9)


def test_a_statue_has_no_energy_and_stands_all_the_time():
    still = motions(still=True)
    found = {}
    for kind in ALL:
        metric = kind()
        metric.update(still)
        found.update(metric.compute())
    assert found["energy"] == pytest.approx(0, abs=1e-12)
    assert found["jerk"] == pytest.approx(0, abs=1e-6)
    assert found["foot_skate"] == 0
    assert found["contact_share"] == 1


def test_without_joints_nothing_is_made_up():
    with pytest.raises(DataError, match="joints"):
        FootSkate().update(EvalSamples())
    with pytest.raises(DataError, match="subclasses"):
        Physical().update(motions())
