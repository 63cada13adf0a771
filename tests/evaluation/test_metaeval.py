"""Effect sizes that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.evaluation.counting import Measured, with_draws
from hmu.evaluation.metaeval import auc, cohen, effects, table
from hmu.evaluation.results import summarise


def test_cohens_d():
    assert cohen([1.0, 3.0], [3.0, 5.0]) == pytest.approx(2 / math.sqrt(2))
    assert cohen([1.0], [2.0]) is None
    assert cohen([1.0, 1.0], [2.0, 2.0]) is None


@settings(max_examples=25, deadline=None)
@given(*[st.lists(st.integers(-3, 3), min_size=1, max_size=8)] * 2)
def test_auc_counts_pairs(first, second):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (first, second))
    pairs = [(y > x) + 0.5 * (y == x) for x in first for y in second]
    assert auc(a, b) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(a, b) == pytest.approx(1 - auc(b, a))


def test_auc_ignores_prompts_that_do_not_count():
    some = torch.tensor([1.0, float("nan")])
    assert auc(some, torch.tensor([2.0, 3.0])) == 1.0
    assert auc(torch.tensor([float("nan")]), some) is None
    assert auc(None, some) is None


def one(model: str, metric: str, value: float, spread: float, set_: str = "forget") -> Measured:
    seed = {"base": 1, "reference": 2}[model]
    noise = torch.randn(300, generator=torch.Generator().manual_seed(seed)).double()
    row = summarise(model, set_, metric, [value, value + 0.1], 20)
    return with_draws(row, row.value + spread * noise, torch.linspace(0, 1, 20) + value)


def test_the_most_telling_metric_of_a_set_comes_first():
    base = [one("base", "fid", 1.0, 0.5), one("base", "mm_dist", 1.0, 0.1), one("base", "fid", 1.0, 1.0, "retain")]
    reference = [one("reference", "fid", 2.0, 0.5), one("reference", "mm_dist", 2.0, 0.1)]
    found = effects(base, reference)
    assert [(e.set, e.metric) for e in found] == [("forget", "mm_dist"), ("forget", "fid")]
    assert found[0].z == pytest.approx(1 / (0.1 * math.sqrt(2)), rel=0.1)
    assert found[0].auc == 1.0 - 0.5 / 400
    text = table(found)
    assert "| forget | `mm_dist` | 20 |" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_metrics_without_draws_or_prompts_are_dashes():
    plain = Measured(summarise("base", "forget", "ncs@5", [0.5], 9))
    (found,) = effects([plain], [plain])
    assert (found.cohen, found.auc, found.z) == (None, None, None)
    assert table([found]).splitlines()[-1].endswith("| – | – | – |")
