from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.foot_lock import contacts, floor_height, lock_feet

FEET = (0, 1, 2, 3)


def skating(frames: int = 30) -> np.ndarray:
    """Four foot joints: the left ones skate slowly on the floor for frames 10..19, else all are in the air."""
    joints = np.full((frames, 5, 3), 0.4)
    joints[:, :, 0] = np.arange(frames)[:, None] * 0.5
    joints[10:20, :2, 1] = 0.01
    joints[10:20, :2, 0] = 5.0 + 0.002 * np.arange(10)[:, None]
    return joints


def test_a_standing_foot_stands_and_the_rest_is_left_alone():
    joints = skating()
    locked = lock_feet(joints, FEET)
    standing = contacts(joints[:, :4])[:, 0]
    assert standing.sum() == 9  # the frame in which the foot leaves again moves fast
    assert np.ptp(locked[standing, 0], axis=0).max() == 0
    assert np.allclose(locked[standing, 0, 1], 0)
    assert np.allclose(locked[:, 4, [0, 2]], joints[:, 4, [0, 2]])
    assert np.allclose(locked[:4, 0, 0], joints[:4, 0, 0])  # further away than the blend


def test_blending_moves_gradually_into_the_contact():
    locked = lock_feet(skating(), FEET, blend=5)
    free = lock_feet(skating(), FEET, blend=0)
    gap = np.abs(locked - free)[4:10, 0, 0]
    assert (np.diff(gap) >= -1e-9).sum() >= 4


def test_floor_is_the_second_quarter_of_the_lowest_heights():
    heights = np.repeat(np.arange(8.0)[:, None] / 100, 4, axis=1)
    assert floor_height(heights) == pytest.approx(0.025)
    assert floor_height(heights + 1.0) == 0.0


def test_too_short_clips_are_refused():
    with pytest.raises(DataError, match="2 or more frames"):
        lock_feet(np.zeros((1, 5, 3)), FEET)
