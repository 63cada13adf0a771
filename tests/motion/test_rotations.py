from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from hmu.errors import DataError
from hmu.motion import rotations as rot
from tests.parity.motion import quat_continuous, six_to_matrix

VECTOR = st.tuples(*[st.floats(-2, 2, allow_subnormal=False)] * 3).map(np.array)
DIRECTION = VECTOR.filter(lambda v: np.linalg.norm(v) > 1e-3)


def scipy_quat(q):
    return Rotation.from_quat(np.roll(q, -1, axis=-1))


@settings(max_examples=60, deadline=None)
@given(DIRECTION, DIRECTION)
def test_between_turns_one_direction_to_the_other(u, v):
    q = rot.quat_between(u, v)
    assert np.linalg.norm(q) == pytest.approx(1.0)
    np.testing.assert_allclose(rot.quat_rotate(q, rot.normalise(u)), rot.normalise(v), atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(DIRECTION)
def test_between_opposite_directions_is_a_half_turn(u):
    q = rot.quat_between(u, -u)
    np.testing.assert_allclose(rot.quat_rotate(q, u), -u, atol=1e-9)
    assert abs(q[0]) < 1e-9


def test_facing_backwards_turns_about_the_vertical():
    np.testing.assert_allclose(np.abs(rot.quat_between([0, 0, -1.0], [0, 0, 1.0])), [0, 0, 1, 0], atol=1e-12)


def test_between_zero_vector_is_identity():
    np.testing.assert_array_equal(rot.quat_between([0, 0, 0], [0, 1, 0]), [1, 0, 0, 0])


@pytest.mark.parametrize("order", ["zxy", "xyz", "zyx", "yzx", "zxz", "y", "xz"])
def test_euler_order_is_intrinsic(order):
    angles = np.random.default_rng(0).uniform(-3, 3, (5, len(order)))
    expected = np.broadcast_to(np.eye(3), (5, 3, 3))
    for column, letter in enumerate(order):
        expected = expected @ Rotation.from_euler(letter, angles[:, [column]]).as_matrix()
    np.testing.assert_allclose(rot.quat_to_matrix(rot.euler_to_quat(angles, order)), expected, atol=1e-12)


def test_euler_refuses_other_letters():
    with pytest.raises(DataError, match="rotation order"):
        rot.euler_to_quat([0.0], "w")
    with pytest.raises(DataError, match="rotation order"):
        rot.euler_to_quat([0.0, 1.0], "xyz")


def test_slerp_agrees_with_scipy_and_takes_the_short_way():
    rng = np.random.default_rng(1)
    a, b = rot.normalise(rng.normal(size=(2, 6, 4)))
    b[0], b[1] = a[0], -a[1]
    for weight in (0.0, 0.3, 1.0):
        ours = rot.quat_to_matrix(rot.slerp(a, b, np.full((6, 1), weight)))
        for k in range(6):
            pair = Rotation.concatenate([scipy_quat(a[k]), scipy_quat(b[k])])
            np.testing.assert_allclose(ours[k], Slerp([0, 1], pair)(weight).as_matrix(), atol=1e-9)


def test_six_numbers_round_trip_and_continuity():
    q = rot.normalise(np.random.default_rng(2).normal(size=(9, 3, 4)))
    np.testing.assert_allclose(six_to_matrix(rot.quat_to_six(q)), rot.quat_to_matrix(q), atol=1e-12)
    smooth = quat_continuous(q)
    assert (np.sum(smooth[1:] * smooth[:-1], axis=-1) >= 0).all()
    np.testing.assert_allclose(rot.quat_to_matrix(smooth), rot.quat_to_matrix(q), atol=1e-12)
