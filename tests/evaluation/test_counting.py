"""Resampling of prompts: paired, centred, and equal to the metric itself where every prompt is drawn once."""

from __future__ import annotations

import math

import pytest
import torch

from hmu.errors import ConfigError
from hmu.evaluation.counting import Resampling, Tally, check_distinct, interval, with_draws
from hmu.evaluation.results import summarise
from hmu.metrics.base import EvalSamples
from hmu.metrics.fid import FID, frechet_distance, gaussian, weighted_frechet
from hmu.metrics.intervals import wilson_interval
from hmu.metrics.kernel_distance import kernel_distance, weighted_kernel_distance
from hmu.metrics.mm_dist import MMDist
from tests.metrics.made import made
from tests.metrics.test_metrics import METRICS, pick, samples, value


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"diversity"}))
def test_every_prompt_drawn_once_gives_the_value_itself(name):
    metric = METRICS[name]()
    whole = value(metric, [samples(count=96)])
    drawn = metric.resampled(torch.ones(2, 96, dtype=torch.float64))
    assert drawn
    for key, draws in drawn.items():
        assert draws.tolist() == pytest.approx([whole[key]] * 2, rel=1e-6)


@pytest.mark.parametrize("name", ["mm_dist", "mm_safe", "r_precision_all", "kid", "fid"])
def test_resampling_does_not_depend_on_order(name):
    counts = Resampling(40, 5).counts
    whole = samples(count=40)
    first, second = METRICS[name](), METRICS[name]()
    first.update(whole)
    second.update(pick(whole, torch.randperm(40, generator=torch.Generator().manual_seed(1))))
    for key, draws in first.resampled(counts).items():
        assert second.resampled(counts)[key].tolist() == pytest.approx(draws.tolist(), rel=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(30, 6), (5, 9)])
def test_weighted_frechet_is_the_distance_of_the_drawn_rows(rows, width):
    generator = torch.Generator().manual_seed(0)
    real, made = torch.randn(2, rows, width, generator=generator)
    index = torch.randint(rows, (rows,), generator=generator)
    counts = torch.bincount(index, minlength=rows).double()[None]
    expected = frechet_distance(*gaussian(real[index]), *gaussian(made[index]))
    assert float(weighted_frechet(real, made, counts, counts)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_kernel_distance_of_rows_drawn_twice_stays_unbiased():
    generator = torch.Generator().manual_seed(0)
    metric = made("kernel_distance")
    generated, real = torch.randn(2, 60, 3, generator=generator)
    metric.update(EvalSamples(generated=generated, real=real, ids=tuple(map(str, range(60)))))
    draws = metric.resampled(Resampling(60, 400).counts)["kernel_distance"]
    assert abs(float(draws.mean()) - metric.compute()["kernel_distance"]) < 0.2 * float(draws.std())


def test_a_kernel_distance_does_not_depend_on_the_blocks(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    real, made = torch.randn(2, 30, 4, generator=generator)
    counts = Resampling(30, 3).counts
    whole, drawn = kernel_distance(real, made), weighted_kernel_distance(real, made, counts, counts)
    monkeypatch.setattr("hmu.metrics.kernel_distance.BLOCK", 7)
    assert kernel_distance(real, made) == pytest.approx(whole, abs=1e-12)
    assert weighted_kernel_distance(real, made, counts, counts).tolist() == pytest.approx(drawn.tolist(), abs=1e-12)


def test_large_sets_take_fewer_draws_and_say_no_less(monkeypatch):
    monkeypatch.setattr("hmu.metrics.fid.BUDGET", 1)
    metric = FID()
    metric.update(samples(count=20))
    draws = metric.resampled(Resampling(20, 45).counts)["fid"]
    assert len(draws) == 45
    assert draws[:20].tolist() == draws[20:40].tolist()
    assert len(set(draws[:20].tolist())) == 20


def test_the_interval_of_a_mean_covers_it_about_as_often_as_promised():
    generator, hits = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        rows = torch.randn(50, 1, generator=generator)
        one = EvalSamples(generated=rows, text=torch.full_like(rows, -10.0), ids=tuple(map(str, range(50))))
        (found,) = _count(one, MMDist())
        hits += found.row.boot_low <= 10 <= found.row.boot_high
    assert hits >= 51


def _count(one: EvalSamples, metric):
    return list(Tally("base", "forget", Resampling(50, 200)).metrics({"m": metric}, [one]))


def test_one_repeat_takes_its_interval_from_the_bootstrap():
    (found,) = _count(samples(count=50), MMDist())
    assert (found.row.low, found.row.high) == (found.row.boot_low, found.row.boot_high)
    assert found.row.low < found.row.value < found.row.high
    assert float(found.draws.quantile(0.5)) == pytest.approx(found.row.value)
    assert len(found.prompts) == 50


def test_without_draws_nothing_is_resampled():
    resampling = Resampling(4, 0)
    hits = [torch.tensor([1.0, 0, 1, 0]).double()] * 2
    found = Tally("m", "s", resampling).share("r", hits)
    assert found.draws is None
    assert found.row.value == 0.5
    assert interval(None) == (None, None)


def test_a_rate_counts_only_the_prompts_that_ask_for_it():
    mask = torch.tensor([True, True, False, False])
    hits = [torch.tensor([1.0, 0, 1, 1]).double(), torch.tensor([1.0, 1, 1, 1]).double()]
    found = Tally("m", "s", Resampling(4, 50)).share("r", hits, mask)
    assert (found.row.values, found.row.n) == ((0.5, 1.0), 2)
    assert math.isnan(float(found.prompts[3]))


def test_draws_are_the_same_for_every_model():
    first, second = Resampling(9, 20), Resampling(9, 20)
    assert torch.equal(first.counts, second.counts)
    assert bool((first.counts.sum(1) == 9).all())


def rate(hits):
    return Tally("base", "forget", Resampling(len(hits[0]), 2000)).share("detector_rate", hits).row


def test_the_interval_of_a_rate_counts_what_is_independent():
    generator = torch.Generator().manual_seed(0)
    once = (torch.rand(100, generator=generator) < 0.7).double()
    alike = rate([once] * 8)  # every repeat says the same: a hundred answers
    other = rate([(torch.rand(100, generator=generator) < 0.7).double() for _ in range(8)])
    width = {n: (lambda e: e[1] - e[0])(wilson_interval(0.7 * n, n)) for n in (100, 800)}
    assert alike.high - alike.low == pytest.approx(width[100], rel=0.15)
    assert other.high - other.low == pytest.approx(width[800], rel=0.35)
    assert alike.interval == other.interval == "wilson"


def test_where_all_agree_every_prompt_counts_once():
    never = rate([torch.zeros(20, dtype=torch.float64)] * 5)
    assert (never.low, never.high) == pytest.approx(wilson_interval(0, 20))


def test_what_is_quoted_of_a_distance_is_its_draws_and_never_below_0():
    row = summarise("base", "retain", "fid", [0.2, 0.4], 20)
    told = with_draws(row, torch.linspace(-0.5, 1.1, 200)).row
    assert (told.low, told.interval) == (0.0, "bootstrap")
    assert told.boot_low < 0 < told.high == told.boot_high
    assert with_draws(row, None).row == row


def test_two_metrics_must_not_give_one_number():
    with pytest.raises(ConfigError, match="'a' and 'b' both give 'mm_dist'"):
        list(Tally("base", "retain", Resampling(8, 0)).metrics({"a": MMDist(), "b": MMDist()}, [samples(count=8)]))
    with pytest.raises(ConfigError, match="'a' and 'b' both give 'mm_dist'"):  # and before anything is generated
        check_distinct({"a": MMDist(), "b": MMDist()})
