from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.bvh import parse_bvh
from hmu.motion.bvh_write import centimetres, fit_rotations, format_bvh, joints_to_bvh, matrix_to_euler_zyx
from hmu.motion.rotations import euler_to_quat, quat_to_matrix
from hmu.motion.skeleton import T2M
from tests.motion.walker import walker


def back(text: str) -> np.ndarray:
    bvh = parse_bvh(text)
    return bvh.joints()[:, [bvh.names.index(name) for name in T2M.joint_names]]


def test_positions_on_every_joint_bring_the_joints_back():
    joints = walker(40)
    wobbling = joints * (1 + 0.01 * np.sin(np.arange(40) / 3))[:, None, None]  # bones that change their length
    assert np.abs(back(format_bvh(joints_to_bvh(wobbling, T2M, 20.0))) - wobbling).max() < 1e-5


def test_fixed_bones_follow_a_body_whose_bones_are_fixed():
    first = joints_to_bvh(walker(40), T2M, 20.0, positions="root")
    joints = back(format_bvh(first))  # of a body with rigid pelvis and chest
    bvh = joints_to_bvh(joints, T2M, 20.0, positions="root")
    assert [len(c) for c in bvh.channels] == [6] + [3] * 21
    assert np.abs(back(format_bvh(bvh)) - joints).max() < 1e-3
    lengths = np.linalg.norm(np.diff(back(format_bvh(bvh))[:, [4, 7]], axis=1), axis=-1)
    assert np.ptp(lengths) < 1e-5


def test_a_file_is_in_centimetres_and_at_the_rate(tmp_path):
    joints = walker(8)
    (tmp_path / "a.bvh").write_text(format_bvh(centimetres(joints_to_bvh(joints, T2M, 12.5))))
    bvh = parse_bvh((tmp_path / "a.bvh").read_bytes())
    assert float(bvh.fps) == 12.5
    assert np.allclose(bvh.local_positions()[:, 0], 100 * joints[:, 0], atol=1e-5)


def test_angles_come_back_also_at_the_pole():
    angles = np.array([[0.3, -1.2, 2.0], [1.0, np.pi / 2, 0.0], [-2.0, -np.pi / 2, 0.0], [0.0, 0.0, 0.0]])
    matrix = quat_to_matrix(euler_to_quat(angles, "zyx"))
    assert np.allclose(quat_to_matrix(euler_to_quat(matrix_to_euler_zyx(matrix), "zyx")), matrix, atol=1e-7)


def test_the_solver_turns_a_chain_exactly_in_one_sweep():
    offsets = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    wanted = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]])
    turned = fit_rotations(wanted, (-1, 0, 1), offsets, iterations=1)
    assert np.allclose(quat_to_matrix(turned[:, 0]) @ [0, 1, 0], [[1, 0, 0]])
    assert np.allclose(turned[:, 2], [[1, 0, 0, 0]])  # a leaf has nothing to point


@pytest.mark.parametrize("joints", [np.zeros((4, 21, 3)), np.zeros((0, 22, 3)), np.full((4, 22, 3), np.nan)])
def test_what_cannot_be_written_is_refused(joints):
    with pytest.raises(DataError, match="joints"):
        joints_to_bvh(joints, T2M, 20.0)
