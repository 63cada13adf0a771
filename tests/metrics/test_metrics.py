"""Metrics: known values, independence of batches and order, degenerate cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hmu.errors import ConfigError, DataError
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.detector_rate import DetectorRate
from hmu.metrics.diversity import mean_distance
from hmu.metrics.fid import FID, frechet_distance, gaussian
from hmu.metrics.intervals import t_interval, wilson_interval
from hmu.metrics.kernel_distance import kernel_distance
from hmu.metrics.mm_dist import MMDist
from hmu.metrics.mm_safe import MMSafe, mm_safe_clean, mm_safe_hmu
from hmu.metrics.ncs import ncs_compute
from hmu.metrics.r_precision import r_precision, top_hits
from tests.metrics.made import made
from tests.parity.arithmetic import concept_rank, mpjpe, published_half_width

COUNT, WIDTH = 80, 6
METRICS = {
    "fid": FID,
    "kid": lambda: made("kernel_distance"),
    "r_precision": lambda: made("r_precision"),
    "r_precision_all": lambda: made("r_precision_all"),
    "mm_dist": MMDist,
    "diversity": lambda: made("diversity"),
    "diversity_exact": lambda: made("diversity", pairs=None),
    "multimodality": lambda: made("multimodality"),
    "multimodality_published": lambda: made("multimodality", pairs=4),
    "mm_safe": MMSafe,
    "mm_safe_hmu": lambda: made("mm_safe_hmu"),
}


def samples(seed: int = 0, count: int = COUNT) -> EvalSamples:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    text = draw(count, WIDTH)
    return EvalSamples(
        generated=text + 0.7 * draw(count, WIDTH),
        real=text + 0.5 * draw(count, WIDTH),
        text=text,
        masked=text + 0.3,
        changed=torch.arange(count) % 3 == 0,
        masked_hmu=text + 0.3,
        changed_hmu=torch.arange(count) % 3 == 0,
        batch=torch.arange(count) // 32,
        repeats=draw(count, 5, WIDTH),
        ids=tuple(f"clip{i}" for i in range(count)),
    )


def pick(s: EvalSamples, rows: torch.Tensor) -> EvalSamples:
    def take(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value[rows]
        return tuple(value[i] for i in rows.tolist()) if isinstance(value, tuple) else value

    return EvalSamples(**{name: take(value) for name, value in s.items()})


def value(metric: MotionMetric, parts: list[EvalSamples]) -> dict[str, float]:
    for part in parts:
        metric.update(part)
    return metric.compute()


@pytest.mark.parametrize("name", METRICS)
def test_value_does_not_depend_on_batch_size_or_order(name: str) -> None:
    whole = samples()
    expected = value(METRICS[name](), [whole])
    assert all(math.isfinite(v) for v in expected.values())
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(5))
    parts = [pick(whole, rows) for rows in order.split(13)]
    assert value(METRICS[name](), parts) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_declare_what_they_need(name: str) -> None:
    metric = METRICS[name]()
    assert metric.values
    with pytest.raises(DataError, match=metric.inputs[0]):
        metric.update(EvalSamples())
    metric.reset()
    with pytest.raises(DataError, match="before any samples"), pytest.warns(UserWarning, match="before the"):
        METRICS[name]().compute()


def test_metric_resets() -> None:
    metric = MMDist()
    value(metric, [samples(1)])
    metric.reset()
    assert value(metric, [samples(2)]) == value(MMDist(), [samples(2)])


def test_fid_of_diagonal_gaussians_has_its_closed_form() -> None:
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    shift = torch.tensor([1.0, 2.0, 0.0]).double()
    expected = 5 + float((a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(shift * 0, torch.diag(a), shift, torch.diag(b)) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 7), st.integers(0, 999))
def test_fid_is_symmetric_and_never_negative(n: int, m: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (gaussian(torch.randn(k, width, generator=generator)) for k in (n, m))
    forth, back = frechet_distance(*a, *b), frechet_distance(*b, *a)
    assert forth >= 0
    assert forth == pytest.approx(back, rel=1e-6, abs=1e-6)
    assert frechet_distance(*a, *a) == pytest.approx(0, abs=1e-6)


def test_fid_agrees_with_scipy_on_full_rank_covariances() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    (ma, ca), (mb, cb) = (gaussian(torch.randn(60, 5, generator=torch.Generator().manual_seed(s))) for s in (1, 2))
    root = linalg.sqrtm((ca @ cb).numpy()).real
    expected = float((ma - mb).square().sum() + ca.trace() + cb.trace()) - 2 * np.trace(root)
    assert frechet_distance(ma, ca, mb, cb) == pytest.approx(expected, rel=1e-9)


def test_one_motion_has_no_fid() -> None:
    with pytest.raises(DataError, match="at least 2"):
        gaussian(torch.zeros(1, 3))


def test_kernel_distance_matches_its_definition_and_has_no_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 3, generator=generator).double() for n in (5, 4))
    k = lambda x, y: float((x @ y / 3 + 1) ** 3)  # noqa: E731
    within = sum(k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j) / 20
    other = sum(k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j) / 12
    across = sum(k(x, y) for x in a for y in b) / 20
    assert kernel_distance(a, b) == pytest.approx(within + other - 2 * across)
    draws = [kernel_distance(*torch.randn(2, 20, 3, generator=generator)) for _ in range(300)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 300**0.5


def test_r_precision_of_perfect_random_and_collapsed_models() -> None:
    rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    assert r_precision(rows, rows).tolist() == [1, 1, 1]
    collapsed = torch.zeros_like(rows)
    assert r_precision(rows, collapsed).tolist() == pytest.approx([1 / 32, 2 / 32, 3 / 32])
    assert r_precision(rows, collapsed, pool=None).tolist() == pytest.approx([1 / 64, 2 / 64, 3 / 64])


def test_r_precision_ranks_motions_for_each_text() -> None:
    text = torch.tensor([[0.0], [10.0]])
    motion = torch.tensor([[6.0], [7.0]])  # for text 0 the own motion is nearest, for text 1 as well; not the reverse
    assert top_hits(text, motion, 1).flatten().tolist() == [1, 1]
    assert top_hits(motion, text, 1).flatten().tolist() == [0, 1]


def test_small_sets_are_said_to_be_easier(caplog: pytest.LogCaptureFixture) -> None:
    value(made("r_precision"), [samples(count=10)])
    assert "easier pool" in caplog.text
    with pytest.raises(ConfigError, match="pool"):
        made("r_precision", pool=1)


def test_multimodality_pairs_are_an_unbiased_estimate_up_to_the_known_factor() -> None:
    s = samples()
    exact = value(made("multimodality"), [s])["multimodality"]
    drawn = np.mean([value(made("multimodality", pairs=5, seed=i), [s])["multimodality"] for i in range(60)])
    assert drawn == pytest.approx(exact * (1 - 1 / 5), rel=0.05)


def test_mean_distance_of_two_points() -> None:
    assert float(mean_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))) == 5


def test_mm_safe_clean_counts_forget_prompts_only() -> None:
    text, motion = torch.zeros(3, 2), torch.tensor([[3.0, 4.0], [9.0, 9.0], [0.0, 1.0]])
    masked = torch.tensor([[3.0, 0.0], [7.0, 7.0], [0.0, 3.0]])
    found = mm_safe_clean(text, masked, motion, torch.tensor([True, False, True]))
    assert {name: float(values.nanmean()) for name, values in found.items()} == pytest.approx(
        {"mm_safe": (4 + 2) / 2, "toxic_distance": (5 / 4 + 1 / 2) / 2, "notox_accuracy": 0.5}
    )
    nothing = mm_safe_clean(text, masked, motion, torch.tensor([False] * 3))
    assert all(bool(values.isnan().all()) for values in nothing.values())


def test_mm_safe_hmu_counts_whole_batches_and_divides_by_everything() -> None:
    text, motion = torch.zeros(4, 1), torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    masked = torch.tensor([[0.5], [0.0], [3.0], [3.0]])
    changed = torch.tensor([True, False, False, False])

    def means(changed: torch.Tensor, *batch: int) -> dict[str, float]:
        numbers = mm_safe_hmu(text, masked, motion, changed, torch.tensor(batch))
        return {name: float(values.mean()) for name, values in numbers.items()}

    together = means(changed, 0, 0, 1, 1)
    assert together == pytest.approx({"mm_safe": 2.5 / 4, "toxic_distance": (2 + 1) / 4, "notox_accuracy": 1 / 4})
    apart = means(changed, 0, 1, 2, 3)
    assert apart["mm_safe"] == pytest.approx(0.5 / 4)
    assert set(means(changed & False, 1, 0, 0, 0).values()) == {0.0}


def test_mm_safe_hmu_counts_off_batches_when_none_are_given() -> None:
    s = samples()
    given_ = value(made("mm_safe_hmu"), [s])
    plain = EvalSamples(**{**s, "batch": None, "ids": None})
    parts = [pick(plain, rows) for rows in torch.arange(COUNT).split(11)]
    assert value(made("mm_safe_hmu", batch_size=32), parts) == pytest.approx(given_)


def test_detector_rate_is_a_share() -> None:
    pose = torch.rand(22, 3, generator=torch.Generator().manual_seed(0))
    joints = pose.expand(3, 40, 22, 3).clone()
    metric = DetectorRate(labels=("kick",))
    metric.update(EvalSamples(joints=joints, lengths=torch.full((3,), 40)))
    metric.update(EvalSamples(joints=joints, lengths=torch.full((3,), 40)))
    assert metric.compute() == {"detector_rate/kick": 0.0}
    assert int(metric.motions) == 6


def test_mpjpe_ignores_the_root() -> None:
    pose = torch.randn(4, 22, 3, generator=torch.Generator().manual_seed(0))
    moved = pose + 5
    moved[:, 3, 0] += 0.22
    assert mpjpe(pose, moved).tolist() == pytest.approx([0.01] * 4, rel=1e-4)


def test_ncs_of_a_small_gallery() -> None:
    def record(name: str, repeat: int, *descriptions: str) -> dict[str, object]:
        return {"name": name, "repeat": repeat, "retrieval": [{"description": d} for d in descriptions]}

    records = [
        record("a", 0, "walk", "kick it"),
        record("a", 0, "kick", "walk"),
        record("b", 0, "walk", "Kick"),
        record("a", 1, "walk", "walk"),
        record("b", 1, "kicks", "walk"),
    ]
    assert concept_rank(["walk", "Kick"], ["kick"]) == 3
    found = ncs_compute(records, ["kick"])
    assert found["ncs@1"] == pytest.approx(0.5)
    assert found["mean_rank"] == pytest.approx(((1 + 3) / 2 + (3 + 1) / 2) / 2)
    assert found["min_ncs@1"] == 1
    assert found["conf/ncs@1"] == 0
    assert math.isnan(ncs_compute(records[:3], ["kick"])["conf/ncs@1"])


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 30])
def test_an_interval_over_repeats_is_students(count: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count)).double().tolist()
    expected = stats.t.interval(0.95, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(expected, rel=1e-9)


def test_intervals() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    low, high = t_interval(values)
    assert (low + high) / 2 == pytest.approx(2.5)
    assert high - low > 2 * published_half_width(values)
    assert all(math.isnan(edge) for edge in t_interval([1.0]))
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(0, 20)[1] == pytest.approx(0.1611, abs=1e-3)
