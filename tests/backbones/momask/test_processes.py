"""Two processes that train one tokenizer meet at the same codebooks, whatever each of them draws."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.rvq import Rvq
from tests.backbones.momask.test_rvq import SMALL
from tests.workflows.test_distributed import free_port

STEPS = 12


def worker(rank: int, world: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    address, patience = f"tcp://127.0.0.1:{port}", timedelta(seconds=20)
    torch.distributed.init_process_group("gloo", address, patience, world, rank)
    torch.manual_seed(0)
    model = Rvq(7, replace(SMALL, quantize_dropout=0.5)).train()
    draws, used = Draws(torch.Generator().manual_seed(rank)), []
    for _ in range(STEPS):
        ids = model(torch.randn(4, 16, 7), draws=draws).ids
        used.append(int((ids >= 0).all(0).all(0).sum()))
    torch.save({"used": used, "codes": [book.codebook for book in model.quantizer.books()]}, Path(folder, str(rank)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_use_as_many_layers_and_keep_equal_codebooks(tmp_path):
    torch.multiprocessing.spawn(worker, args=(2, free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2))
    assert first["used"] == second["used"]
    assert len(set(first["used"])) > 1
    torch.testing.assert_close(first["codes"], second["codes"])
