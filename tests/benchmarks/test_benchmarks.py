"""The benchmarks at toy size: both ways agree, and a difference is not timed."""

from __future__ import annotations

import pytest
import torch

from benchmarks import codes, loading, sampling, unlearning
from benchmarks.paired import Pair, measure, report
from tests.conftest import REPOSITORY


def test_pairs_are_interleaved_and_told_as_ratios(capsys):
    calls = []

    def side(name):
        def run():
            calls.append(name)
            return [torch.zeros(2)]

        return run

    timings = measure([Pair("a", side("a"), side("A")), Pair("b", side("b"), side("B"))], 2)
    assert "".join(calls) == "aAbB" + "aAbB" + "AaBb"
    timings[0].ours, timings[0].plain = [(1.0, 1.0), (2.0, 1.0), (9.0, 1.0)], [(4.0, 2.0), (4.0, 2.0), (9.0, 3.0)]
    assert timings[0].ratio() == 2.0
    assert timings[0].ratio(1) == 2.0
    assert timings[0].spread() == (1.0, 4.0)
    assert "| a | 2.00 | 2.00 | 1.00 to 4.00 |" in report("t", timings[:1])
    assert f"n 3, threads {torch.get_num_threads()}, torch {torch.__version__}" in capsys.readouterr().out


@pytest.mark.parametrize("other", [torch.ones(2), torch.zeros(3)])
def test_ways_that_differ_are_not_compared(other):
    with pytest.raises(AssertionError, match="one"):
        measure([Pair("one", lambda: [torch.zeros(2)], lambda: [other])], 1)


@pytest.mark.skipif(not (REPOSITORY / "hmu" / "assets" / "demo" / "salad").is_dir(), reason="no packaged demo weights")
@pytest.mark.parametrize(
    ("benchmark", "options"),
    [
        (sampling, ["--batch", "2", "--batches", "1", "--steps", "2"]),
        (unlearning, ["--batch", "2", "--steps", "1", "--clips", "57"]),
        (loading, ["--batch", "16", "--clips", "57"]),
        (codes, ["--clips", "2", "--crops", "2", "--captions", "1"]),
    ],
)
def test_every_benchmark_runs_and_both_ways_agree(benchmark, options):
    threads = torch.get_num_threads()
    try:
        timings = benchmark.main([*options, "--repeats", "1"])
    finally:
        torch.set_num_threads(threads)
    assert timings
    assert all(timing.ratio() > 0 for timing in timings)
