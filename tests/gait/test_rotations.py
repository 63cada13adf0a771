from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.gait import columns, states
from hmu.gait.rotations import about, angular_velocity, from_6d, from_euler, to_6d, to_euler
from hmu.gait.skeleton import FEET, JOINTS, Skeleton, forward


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1.4, 1.4), min_size=3, max_size=3), st.sampled_from(["zxy", "xyz"]))
def test_angles_survive_matrices(angles, order):
    given_ = torch.tensor(angles, dtype=torch.float64)
    matrix = from_euler(given_, order)
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(to_euler(matrix, order), given_, atol=1e-9)
    assert torch.allclose(from_6d(to_6d(matrix)), matrix, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_any_six_numbers_become_a_rotation(rows):
    first, second = torch.tensor(rows[:3]).double(), torch.tensor(rows[3:]).double()
    if torch.linalg.cross(first, second).norm() < 1e-2:
        return
    matrix = from_6d(torch.cat([first, second]))
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.linalg.det(matrix) > 0.99


def test_published_angular_velocity_is_reversed_and_fades_with_the_angle():
    angles = torch.arange(20, dtype=torch.float64) * 0.02  # 2 radians a second
    published = angular_velocity(about("y", angles), 100.0)
    assert torch.allclose(published[:-1, 1], -100 * angles.sin().diff())
    assert published[0, 1] < -1.99 < published[-2, 1] < -1.8
    assert torch.all(published[:, [0, 2]].abs() < 1e-12)


def pose(**angles: float) -> torch.Tensor:
    row = torch.zeros(1, len(columns.COORDINATES), dtype=torch.float64)
    for name, degrees in angles.items():
        row[0, columns.osim([name])[0]] = math.radians(degrees)
    return row


def test_a_standing_body_has_its_joints_in_place():
    standing = forward(pose(), Skeleton.generic(1.8)).joints[0]
    at = dict(zip(JOINTS, standing.tolist(), strict=True))
    assert at["hip_r"][2] > 0 > at["hip_l"][2]
    assert at["pelvis"][1] > at["hip_r"][1] > at["knee_r"][1] > at["ankle_r"][1] > at["calcn_r"][1]
    assert at["mtp_r"][0] > at["calcn_r"][0]
    assert at["knee_r"][1] == pytest.approx(at["knee_l"][1])


def test_flexion_is_flexion_and_sides_mirror():
    straight = forward(pose(), Skeleton.generic(1.8)).joints[0]
    bent = forward(pose(hip_flexion_r=30, knee_angle_r=60, hip_adduction_r=5, hip_rotation_r=7), Skeleton.generic(1.8))
    left = forward(pose(hip_flexion_l=30, knee_angle_l=60, hip_adduction_l=5, hip_rotation_l=7), Skeleton.generic(1.8))
    knee, ankle = JOINTS.index("knee_r"), JOINTS.index("ankle_r")
    assert bent.joints[0, knee, 0] > straight[knee, 0] + 0.1  # the thigh swings forward
    assert bent.joints[0, ankle, 0] < bent.joints[0, knee, 0]  # the shank swings back
    assert bent.joints[0, knee, 2] < straight[knee, 2]  # adduction goes to the middle
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    assert torch.allclose(bent.feet[0, :2] * mirror, left.feet[0, 2:], atol=1e-12)
    assert bent.feet.shape == (1, len(FEET), 3)


def test_states_convert_back_to_the_coordinates_they_came_from(walking):
    from hmu.gait.standard import coordinates

    root = walking.states[:, columns.ROOT_COLUMNS] + walking.start
    poses = coordinates(walking.states, root)
    again = states.to_osim(torch.from_numpy(walking.states), walking.height)[:, : len(columns.COORDINATES)]
    angles = columns.osim([name for name in columns.COORDINATES if name not in columns.ROOT])
    assert torch.allclose(again[:, angles], torch.from_numpy(poses)[:, angles], atol=1e-9)


def test_the_columns_are_the_published_ones():
    assert (len(columns.STATES), len(columns.OSIM), len(columns.COORDINATES)) == (63, 35, 23)
    groups = columns.KINETIC_COLUMNS + columns.KINEMATIC_COLUMNS
    assert sorted(groups) == list(range(63))
    with pytest.raises(KeyError):
        columns.states(["hip_flexion_r_vel"])  # the authors' sweep guides this column; it does not exist
