from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import DataError
from hmu.motion import kinematics

FPS = 20.0
TIME = np.arange(60) / FPS


def standing(frames: int = 60) -> np.ndarray:
    """A crude upright figure, feet on the floor."""
    heights = [0.9, 0.82, 0.82, 1.0, 0.45, 0.45, 1.1, 0.08, 0.08, 1.15, 0.02, 0.02, 1.35, 1.3, 1.3, 1.45, 1.3, 1.3]
    heights += [1.05, 1.05, 0.8, 0.8]
    pose = np.zeros((22, 3))
    pose[:, 1] = heights
    pose[[1, 4, 7, 10, 13, 16, 18, 20], 0] = [0.1, 0.1, 0.1, 0.1, 0.05, 0.18, 0.2, 0.2]
    pose[[2, 5, 8, 11, 14, 17, 19, 21], 0] = [-0.1, -0.1, -0.1, -0.1, -0.05, -0.18, -0.2, -0.2]
    pose[[10, 11], 2] = 0.13
    return np.repeat(pose[None], frames, 0)


def test_a_steady_glide_has_its_energy_and_no_jerk():
    moving = standing()
    moving[..., 2] += 1.5 * TIME[:, None]
    assert kinematics.energy(moving) == pytest.approx([1.125])
    assert kinematics.jerk(moving) == pytest.approx([0.0], abs=1e-6)


def test_jerk_is_the_third_derivative():
    moving = standing()
    moving[..., 0] += TIME[:, None] ** 3
    assert kinematics.jerk(moving) == pytest.approx([6.0])
    assert kinematics.jerk(standing(3)) == pytest.approx([0.0])


def test_standing_feet_touch_and_sliding_feet_skate():
    still, slide = standing(), standing()
    slide[..., 0] += 1.0 * TIME[:, None]
    both = np.stack([still, slide])
    assert kinematics.foot_skate(both) == pytest.approx([0.0, 1.0])
    assert kinematics.contact_share(both) == pytest.approx(np.array([[1.0, 1.0], [0.0, 0.0]]))
    lifted = standing()
    lifted[20:40, [7, 10], 1] += 0.3
    share = kinematics.contact_share(lifted)[0]
    assert share == pytest.approx([40 / 60, 1.0])
    assert not kinematics.contacts(lifted)[0, 20:40, 0].any()


@settings(max_examples=10, deadline=None)
@given(length=st.integers(2, 50), extra=st.integers(1, 30), seed=st.integers(0, 99))
def test_padding_changes_nothing(length, extra, seed):
    random = np.random.default_rng(seed)
    clip = standing(length) + random.normal(0, 0.02, (length, 22, 3)).cumsum(0)
    batch = np.full((1, length + extra, 22, 3), np.nan)
    batch[0, :length] = clip
    for quantity in (kinematics.energy, kinematics.jerk, kinematics.contact_share, kinematics.foot_skate):
        alone, together = quantity(clip), quantity(batch, [length])
        assert together == pytest.approx(alone), quantity.__name__
        assert np.array_equal(quantity(torch.from_numpy(batch), torch.tensor([length])), together)


@pytest.mark.parametrize(
    ("joints", "lengths", "words"),
    [
        (np.zeros((5, 21, 3)), None, "expected"),
        (np.zeros((2, 5, 22, 3)), [5], "lengths"),
        (np.zeros((1, 5, 22, 3)), [6], "lengths"),
        (np.zeros((1, 5, 22, 3)), [0], "lengths"),
        (np.full((1, 5, 22, 3), np.nan), [5], "NaN"),
    ],
)
def test_wrong_input_is_said(joints, lengths, words):
    with pytest.raises(DataError, match=words):
        kinematics.energy(joints, lengths)
