from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.resample import rate_from_frame_time, resample_positions, resample_rotations, resampled_length


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0.0333333", 30),
        ("0.033", 30),
        ("3.33333e-02", 30),
        ("0.0083", 120),
        ("0.00833333", 120),
        ("0.017", 60),
        ("0.050000", 20),
        ("0.0417083", Fraction(24000, 1001)),
        ("0.0153846", 65),
        ("1", 1),
        ("0.0123456", 81),
        ("0.4", Fraction(5, 2)),
        ("0.03333333507180214", 30),  # 1/30, 1/120 and 1001/30000 in single precision
        ("0.008333333767950535", 120),
        ("0.03336666524410248", Fraction(30000, 1001)),
        ("0.0333333333333333333333333333333333333333333333333", 30),
    ],
)
def test_rates_behind_rounded_frame_times(text, rate):
    assert rate_from_frame_time(text) == rate


@pytest.mark.parametrize("text", ["0", "-0.1", "fast", "nan", "inf", "1e-99999999", "1e99999999", "1000", "0.00001"])
def test_impossible_frame_times(text):
    with pytest.raises(DataError, match="frame time"):
        rate_from_frame_time(text)


def test_single_precision_costs_no_frame():
    rate = rate_from_frame_time("0.03333333507180214")
    assert resampled_length(301, rate, 20) == 201


def test_length_is_exact():
    for frames in range(1, 400):
        assert resampled_length(frames, 30, 20) == (frames - 1) * 20 // 30 + 1
    assert resampled_length(0, 30, 20) == 0


def test_positions_and_rotations_hit_the_source_and_the_middle():
    positions = np.arange(7.0)[:, None] ** 2
    np.testing.assert_allclose(resample_positions(positions, 30, 20)[:, 0], [0, 2.5, 9, 20.5, 36])
    half = np.arange(7.0) * 0.2
    quats = np.stack([np.cos(half), np.sin(half), 0 * half, 0 * half], axis=-1)
    angle = 1.5 * 0.2 * np.arange(5)
    np.testing.assert_allclose(resample_rotations(quats, 30, 20)[:, :2].T, [np.cos(angle), np.sin(angle)], atol=1e-12)
    np.testing.assert_array_equal(resample_positions(positions, 20, 20), positions)
    with pytest.raises(DataError):
        resample_positions(np.zeros((0, 3)), 30, 20)
    with pytest.raises(DataError):
        resample_positions(positions, 30, 0)
