"""NaN and infinity are found wherever they are, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from hmu.checkpoints.safe import first_nonfinite, load_safetensors, refuse_nonfinite, save_safetensors
from hmu.errors import CheckpointError


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_bad_number_among_many(bad, kind):
    tensors = {"a": torch.full((100,), 6e4).to(kind), "b": torch.zeros(3, 5, dtype=kind), "c": torch.zeros(2)}
    assert first_nonfinite(tensors) is None  # sums would overflow
    tensors["b"][2, 4] = bad
    assert first_nonfinite(tensors) == "b"
    with pytest.raises(CheckpointError, match="the file: 'b' holds NaN or infinite numbers"):
        refuse_nonfinite(tensors, "the file")


def test_what_is_no_floating_tensor_is_passed_over():
    assert (
        first_nonfinite({"n": torch.tensor([1, 2]), "extra": {"scale": float("nan")}, "empty": torch.zeros(0)}) is None
    )
    assert first_nonfinite({}) is None


def test_a_file_of_weights_with_such_numbers_is_refused(tmp_path):
    save_safetensors(tmp_path / "weights.safetensors", {"w": torch.tensor([1.0, float("nan")])})
    with pytest.raises(CheckpointError, match=r"weights.safetensors: 'w' holds NaN"):
        load_safetensors(tmp_path / "weights.safetensors")
