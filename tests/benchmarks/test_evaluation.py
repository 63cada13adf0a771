"""The benchmark of a whole evaluation at toy size."""

from __future__ import annotations

import pytest
import torch

from benchmarks import evaluation


def test_captions_are_different_and_as_many_as_asked():
    made = evaluation.captions(2240)
    assert len(set(made)) == 2240
    assert evaluation.captions(2241)[-1] == made[0]


def test_both_sides_run_and_their_stages_are_told(capsys):
    pytest.importorskip("transformers")
    threads = torch.get_num_threads()
    small = ["--size", "toy", "--prompts", "4", "--generations", "2", "--batch", "2", "--steps", "1"]
    try:
        (timing,) = evaluation.main(small)
    finally:
        torch.set_num_threads(threads)
    assert timing.ratio() > 0
    told = capsys.readouterr().out
    for stage in ("text", "generating", "embedding", "metrics and files"):
        assert f"| {stage} | " in told
