"""Checkpoint files: the old one or the new one, on any file system, and nothing in them is executed."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from hmu import documents
from hmu.errors import CheckpointError
from hmu.training.resumable import WholeFiles, noise_state, set_noise_state
from tests.conftest import REPOSITORY


def test_a_write_that_breaks_off_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    files, path = WholeFiles(), tmp_path / "checkpoints" / "vae.ckpt"
    files.save_checkpoint({"step": 1}, path)

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(documents.os, "fsync", broken)
    with pytest.raises(
        CheckpointError, match=r"vae.ckpt: cannot write .*No space left on device.*old file is untouched"
    ):
        files.save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert files.load_checkpoint(path) == {"step": 1}
    assert [p.name for p in path.parent.iterdir()] == ["vae.ckpt"]


def test_nothing_passes_through_another_file_system(tmp_path, monkeypatch):
    """The temporary file lies beside the checkpoint: renaming it can then not become a copy."""
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        documents.os, "replace", lambda a, b: (seen.append((os.path.dirname(a), os.path.dirname(b))), replace(a, b))
    )
    WholeFiles().save_checkpoint({"step": 1}, tmp_path / "vae.ckpt")
    assert seen == [(str(tmp_path), str(tmp_path))]


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_runs_no_code_and_says_what_is_wrong(tmp_path):
    path = tmp_path / "vae.ckpt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match=r"vae\.ckpt"):
        WholeFiles().load_checkpoint(path)
    torch.save({"evil": Evil()}, path)
    with pytest.raises(CheckpointError, match="refused, nothing was run"):
        WholeFiles().load_checkpoint(path)
    WholeFiles().save_checkpoint({"step": 1}, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="truncated"):
        WholeFiles().load_checkpoint(path)


def draw(generator: torch.Generator) -> list[float]:
    sources = (
        torch.rand(1).item(),
        torch.rand(1, generator=generator).item(),
        float(np.random.rand()),
        random.random(),
    )
    return list(sources)


def test_every_source_of_noise_goes_on_where_it_was(tmp_path):
    generator, cpu = torch.Generator().manual_seed(5), torch.device("cpu")
    draw(generator)
    WholeFiles().save_checkpoint({"noise": noise_state(generator, cpu)}, tmp_path / "a.ckpt")
    expected = draw(generator)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    other = torch.Generator()
    set_noise_state(WholeFiles().load_checkpoint(tmp_path / "a.ckpt")["noise"], other, cpu)
    assert draw(other) == expected


@pytest.mark.slow
def test_killed_while_it_writes_again_and_again(tmp_path):
    """A process that does nothing but save is killed at a random moment: the file is always a whole one."""
    code = """
        import sys, torch
        from hmu.training.resumable import WholeFiles
        files, step = WholeFiles(), 0
        while True:
            step += 1
            files.save_checkpoint({"step": step, "weights": torch.full((500_000,), float(step))}, sys.argv[1])
    """
    path, chance = tmp_path / "vae.ckpt", random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    last = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], env=environment)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = WholeFiles().load_checkpoint(path)
        assert (found["weights"] == found["step"]).all()
        last = max(last, found["step"])
    assert last > 1
