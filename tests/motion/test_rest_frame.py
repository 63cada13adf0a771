"""The rest pose in front of a motion: found where it is, and no frame lost where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from hmu.motion.bvh import parse_bvh
from hmu.motion.bvh_write import format_bvh, joints_to_bvh
from hmu.motion.mapping import load_mapping
from hmu.motion.rest_frame import asymmetry, body_size, rest_frames
from hmu.motion.skeleton import T2M
from tests.motion.figure import person_bvh, walk
from tests.motion.walker import walker


def found(text: str) -> int:
    clip = parse_bvh(text)
    weights = load_mapping("mixamo").weights(clip.names)
    return rest_frames(weights @ clip.joints(), weights @ clip.rest(), float(clip.fps))


@pytest.mark.parametrize("fps", [20, 30, 120])
@pytest.mark.parametrize("count", [1, 3])
def test_rest_poses_in_front_are_found(fps, count):
    assert found(person_bvh(*walk(40, fps), fps=fps, rest_in_front=count)) == count


def test_a_rest_pose_before_a_sprint_is_found():
    root, angles = walk(60, 30.0)
    root[:, [0, 2]] *= 6.5  # 7.8 metres per second
    assert found(person_bvh(root, {k: 1.5 * v if "Leg" in k else v for k, v in angles.items()}, rest_in_front=1)) == 1
    assert found(person_bvh(root, {k: 1.5 * v if "Leg" in k else v for k, v in angles.items()})) == 0


def test_a_rest_pose_far_away_and_a_zero_frame_at_the_origin():
    root, angles = walk(40, heading=0.0)
    far = person_bvh(root + np.array([35.0, 0, -2.5]), angles, rest_in_front=1, rest_root=(0, 0, 0))
    assert found(far) == 1


def test_a_symmetric_pose_that_no_offset_shows_is_found():
    root, angles = walk(40)
    for name, angle in (("LeftArm", -40.0), ("RightArm", 40.0)):  # an A pose, turned away from the walk
        angles[name] = np.concatenate([[[angle, 0, 0]], angles[name]])
    angles = {k: v if len(v) == 41 else np.concatenate([np.zeros((1, 3)), v]) for k, v in angles.items()}
    assert found(person_bvh(np.concatenate([[[0, 1.0, 0]], root]), angles)) == 1


def test_a_clip_that_starts_fast_keeps_its_frames():
    root, angles = walk(40, 20.0)
    punch = np.minimum(np.arange(40) * 50.0, 150.0)  # 0.45 m in the first frame, at full speed for three
    angles["RightArm"] = np.stack([70 - punch, 0 * punch, 0 * punch], -1)
    assert found(person_bvh(root, angles, fps=20.0)) == 0


def test_a_clip_that_leaves_its_rest_pose_smoothly_keeps_its_frames():
    root, angles = walk(60, heading=0.0)
    ease = np.minimum(np.arange(60) / 15, 1.0)[:, None]
    assert found(person_bvh(root, {name: ease * angle for name, angle in angles.items()})) == 0


def test_no_frame_is_lost_in_still_or_jerky_clips():
    root, angles = walk(40, 1.0)  # one frame per second: every step is large
    assert found(person_bvh(root, angles, fps=1.0, rest_in_front=1)) == 0
    still = {name: np.repeat(angle[:1], 40, 0) for name, angle in angles.items()}
    assert found(person_bvh(np.repeat(root[:1], 40, 0), still)) == 0


@pytest.mark.parametrize("positions", ["all", "root"])
def test_what_the_exporter_writes_comes_back_whole(positions):
    joints = walker(50)
    clip = parse_bvh(format_bvh(joints_to_bvh(joints, T2M, 20.0, positions)))
    order = [clip.names.index(name) for name in T2M.joint_names]
    assert len(clip.values) == 50
    assert rest_frames(clip.joints()[:, order], clip.rest()[order], 20.0) == 0


def test_symmetry_and_size():
    clip = parse_bvh(person_bvh(*walk(5)))
    weights = load_mapping("mixamo").weights(clip.names)
    assert asymmetry(weights @ clip.rest()) < 1e-6
    assert asymmetry((weights @ clip.joints())[3]) > 20  # centimetres
    assert body_size(weights @ clip.joints()) == pytest.approx(84 + 9.85 + 60.2, abs=0.5)
