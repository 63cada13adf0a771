"""Metrics that two processes fill with a part each tell both what one process tells of everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.physical import ContactShare, Energy, FootSkate, Jerk
from tests.metrics.test_metrics import COUNT, METRICS, pick, samples
from tests.workflows.test_distributed import free_port

PHYSICAL = {"foot_skate": FootSkate, "contact_share": ContactShare, "jerk": Jerk, "energy": Energy}


def everything() -> EvalSamples:
    generator = torch.Generator().manual_seed(1)
    whole = dict(samples())
    joints = torch.rand(COUNT, 1, 22, 3, generator=generator) + torch.randn(
        COUNT, 12, 22, 3, generator=generator
    ).cumsum(1)
    return EvalSamples(**{**whole, "joints": joints, "lengths": torch.full((COUNT,), 12)})


def metrics() -> dict[str, MotionMetric]:
    return {name: make() for name, make in {**METRICS, **PHYSICAL}.items()}


def worker(rank: int, world: int, port: int, folder: str) -> None:
    address = f"tcp://127.0.0.1:{port}"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    mine = torch.arange(COUNT)[rank::world]
    found = {}
    for name, metric in metrics().items():
        for rows in mine.split(9):
            metric.update(pick(everything(), rows))
        found[name] = metric.compute()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    expected = {}
    for name, metric in metrics().items():
        metric.update(everything())
        expected[name] = metric.compute()
    torch.multiprocessing.spawn(worker, args=(2, free_port(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-9), name
