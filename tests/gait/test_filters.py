from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import DataError
from hmu.gait.filters import fill_gaps, lowpass, resample, slope
from tests.parity.gait_recording import resample_upstream


def test_lowpass_keeps_the_slow_and_removes_the_fast_without_delay():
    time = np.arange(400) / 100
    slow, fast = np.sin(2 * np.pi * 1.0 * time), np.sin(2 * np.pi * 40.0 * time)
    out = lowpass((slow + fast)[:, None], 10, 100)[:, 0]
    assert np.abs(out - slow)[20:-20].max() < 5e-3


def test_lowpass_agrees_with_scipy():
    signal = pytest.importorskip("scipy.signal")
    x = np.cumsum(np.random.default_rng(0).standard_normal((300, 3)), 0)
    for cutoff, fps in ((15, 100), (10, 60), (6, 250)):
        b, a = signal.butter(4, cutoff / (fps / 2))
        assert np.abs(signal.filtfilt(b, a, x, axis=0) - lowpass(x, cutoff, fps)).max() < 1e-8


@pytest.mark.parametrize(("frames", "cutoff"), [(15, 10.0), (100, 50.0), (100, 0.0)])
def test_lowpass_refuses_what_it_cannot_do(frames, cutoff):
    with pytest.raises(DataError, match="low-pass"):
        lowpass(np.zeros((frames, 1)), cutoff, 100)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.integers(5, 40))
def test_slope_is_exact_for_cubics(coefficients, frames):
    x = np.arange(frames, dtype=float)
    expected = np.polyval(np.polyder(coefficients), x)
    found = slope(np.polyval(coefficients, x)[:, None])[:, 0]
    assert np.allclose(found, expected, atol=1e-8 * (1 + np.abs(expected).max()))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 300), st.sampled_from([50.0, 60.0, 120.0, 250.0, 1000.0]))
def test_resample_is_right_in_time(frames, fps):
    time = np.arange(frames) / fps
    out = resample(time[:, None], fps, 100.0)[:, 0]
    assert np.allclose(out, np.arange(len(out)) / 100, atol=1e-12)
    assert out[-1] <= time[-1] + 1e-12 < out[-1] + 0.01 + 1e-9  # as many frames as fit
    theirs = resample_upstream(time[:, None], fps, 100.0)
    assert len(out) - len(theirs) in (0, 1)  # the authors leave the end out


def test_fill_gaps_bridges_and_extends():
    x = np.array([[np.nan, np.nan], [1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    assert fill_gaps(x).tolist() == [[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
