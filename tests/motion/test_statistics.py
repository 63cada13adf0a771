from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.skeleton import T2M
from hmu.motion.statistics import motion_statistics
from tests.parity.features import bias_features


def test_equal_to_the_plain_formula_over_all_frames():
    rng = np.random.default_rng(0)
    clips = [rng.normal(5, np.arange(1, 264), (n, 263)) for n in (3, 1, 40)]
    broken = np.full((4, 263), np.nan)
    mean, std = motion_statistics([clips[0], broken, *clips[1:]])
    frames = np.concatenate(clips)
    np.testing.assert_allclose(mean, frames.mean(0), atol=1e-10)
    for _, columns in T2M.layout.groups:
        np.testing.assert_allclose(std[columns], frames.std(0)[columns].mean())


def test_constant_groups_never_divide_by_zero():
    _, std = motion_statistics([np.ones((5, 263))])
    np.testing.assert_array_equal(std, 1.0)


def test_feature_bias_touches_root_and_contacts_only_and_copies():
    std = np.full(263, 10.0)
    biased = bias_features(std, 5)
    assert set(np.flatnonzero(biased == 2.0)) == {0, 1, 2, 3, 259, 260, 261, 262}
    assert (std == 10).all()


def test_mistakes():
    with pytest.raises(DataError, match="no usable clip"):
        motion_statistics([])
    with pytest.raises(DataError, match="one data set"):
        motion_statistics([np.zeros((2, 263)), np.zeros((2, 251))])
