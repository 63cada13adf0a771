from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from hmu.errors import DataError
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import (
    bone_offsets,
    face_forward,
    facing_quaternions,
    joints_to_features,
    retarget,
    smooth,
)
from hmu.motion.layout import FeatureLayout
from hmu.motion.reference import humanml3d_offsets, offsets_from_file
from hmu.motion.representation import skeleton_representation
from hmu.motion.rotations import quat_rotate
from hmu.motion.skeleton import KIT, SKELETONS, T2M
from tests.motion.walker import walker
from tests.parity.motion import joints_from_rotations, mirror_joints


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_layout_covers_every_column_once(skeleton):
    columns = np.zeros(skeleton.features, dtype=int)
    for _, part in skeleton.layout.groups:
        columns[part] += 1
    assert (columns == 1).all()
    assert FeatureLayout.of(skeleton.features) == skeleton.layout
    assert skeleton_representation(skeleton.features).skeleton is skeleton


def test_other_widths_are_refused():
    for width in (0, 11, 262):
        with pytest.raises(DataError):
            FeatureLayout.of(width)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("facing", ["upstream", "true"])
@pytest.mark.parametrize("frames", [2, 3, 4, 50])
def test_joints_survive_the_round_trip_by_both_routes(skeleton, facing, frames):
    joints = walker(frames, frames, skeleton)
    features = joints_to_features(joints, skeleton, facing=facing)
    assert features.shape == (frames - 1, skeleton.features)
    expected = face_forward(joints, skeleton)[:-1]
    if facing == "true":
        start = facing_quaternions(face_forward(joints, skeleton), skeleton, facing="true")[0]
        expected = quat_rotate(start, expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features_to_joints(features, skeleton), expected, atol=1e-9 * scale)
    offsets = bone_offsets(joints[0], skeleton)
    chained = joints_from_rotations(features, skeleton, offsets)
    np.testing.assert_allclose(chained, expected, atol=1e-9 * scale)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(-20, 20), st.floats(-20, 20), st.floats(-3, 3))
def test_features_do_not_depend_on_where_the_clip_was_filmed(yaw, x, z, height):
    joints = walker(12)
    half = yaw / 2
    moved = quat_rotate([np.cos(half), 0, np.sin(half), 0], joints) + np.array([x, height, z])
    np.testing.assert_allclose(joints_to_features(moved, T2M), joints_to_features(joints, T2M), atol=1e-6)


def test_decoding_is_batched_differentiable_and_of_the_callers_type():
    features = joints_to_features(walker(30), T2M)
    batch = torch.tensor(np.stack([features, features]), dtype=torch.float32, requires_grad=True)
    joints = features_to_joints(batch, T2M)
    assert joints.shape == (2, 29, 22, 3)
    assert joints.dtype == torch.float32
    joints.square().sum().backward()
    assert torch.isfinite(batch.grad).all()
    assert batch.grad[..., T2M.layout.root_yaw].abs().sum() > 0
    np.testing.assert_allclose(joints[1].detach(), features_to_joints(features, T2M), atol=1e-5)
    assert features_to_joints(features.astype(np.float32), T2M).dtype == np.float32


def test_antiparallel_and_zero_length_are_finite_and_right():
    joints = walker(25)
    joints[:, 20] = joints[:, 18]  # no forearm
    joints[5, 4] = joints[5, 1] + [0, 0.39, 0]  # a thigh opposite to its raw axis
    joints[9:] = quat_rotate([0, 0, 1.0, 0], joints[9:])  # turned by exactly half a circle
    features = joints_to_features(joints, T2M)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features_to_joints(features, T2M), face_forward(joints, T2M)[:-1], atol=1e-9)


def test_a_clip_that_starts_facing_backwards_is_turned_forward():
    joints = walker(10)
    backwards = quat_rotate([0, 0, 1.0, 0], face_forward(joints, T2M))
    np.testing.assert_allclose(joints_to_features(backwards, T2M), joints_to_features(joints, T2M), atol=1e-9)


def test_a_steady_full_turn_has_equal_yaw_steps_with_true_facing():
    pose = np.repeat(walker(1), 120, axis=0)
    half = np.linspace(0, 2 * np.pi, 120) / 2
    quats = np.stack([np.cos(half), 0 * half, np.sin(half), 0 * half], axis=-1)
    joints = quat_rotate(quats[:, None], pose)
    steps = joints_to_features(joints, T2M, facing="true", smoothing=0.0)[:, 0]
    np.testing.assert_allclose(steps, -np.pi / 119, atol=1e-9)
    published = joints_to_features(joints, T2M, smoothing=0.0)[:, 0]
    assert (published[1:] > 0).sum() == 1  # the published sign error, where the person faces -z


@pytest.mark.parametrize("frames", [1, 2, 7, 300])
def test_smoothing_is_scipys_nearest_gaussian(frames):
    values = np.random.default_rng(0).normal(size=(frames, 3))
    np.testing.assert_allclose(smooth(values, 20), gaussian_filter1d(values, 20, axis=0, mode="nearest"), atol=1e-12)


def test_retargeting_keeps_directions_and_gives_the_target_lengths():
    source = walker(8) * np.array([1.0, 1.3, 1.0])
    target = humanml3d_offsets()
    resized = retarget(source, T2M, target)
    parents = list(T2M.parents[1:])
    bones, old = resized[:, 1:] - resized[:, parents], source[:, 1:] - source[:, parents]
    np.testing.assert_allclose(np.linalg.norm(bones, axis=-1), np.tile(np.abs(target[1:]).max(-1), (8, 1)), atol=1e-12)
    cosine = np.sum(bones * old, -1) / np.linalg.norm(bones, axis=-1) / np.linalg.norm(old, axis=-1)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-12)


def test_contacts_follow_the_threshold():
    joints = np.repeat(walker(1), 3, axis=0)
    joints[1, 7, 2] += 0.9 * np.sqrt(0.002)
    joints[2, 7, 2] += 2.0 * np.sqrt(0.002)
    contacts = joints_to_features(joints, T2M)[:, T2M.layout.contacts]
    np.testing.assert_array_equal(contacts, [[1, 1, 1, 1], [0, 1, 1, 1]])


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_mirroring_twice_gives_the_joints_back_and_keeps_the_contacts_of_the_other_side(skeleton):
    joints = walker(20, 3, skeleton)
    mirrored = mirror_joints(joints, skeleton)
    np.testing.assert_array_equal(mirror_joints(mirrored, skeleton), joints)
    contacts = joints_to_features(joints, skeleton)[:, skeleton.layout.contacts]
    np.testing.assert_array_equal(
        joints_to_features(mirrored, skeleton)[:, skeleton.layout.contacts], contacts[:, [2, 3, 0, 1]]
    )


def test_bad_clips_are_refused_in_words(tmp_path):
    for bad in (np.zeros((1, 22, 3)), np.zeros((5, 21, 3)), np.zeros((5, 22))):
        with pytest.raises(DataError, match="shape"):
            joints_to_features(bad, T2M)
    broken = walker(5)
    broken[2, 3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        joints_to_features(broken, T2M)
    with pytest.raises(DataError, match="251"):
        features_to_joints(np.zeros((4, 263)), KIT)
    with pytest.raises(DataError, match="facing"):
        joints_to_features(walker(5), T2M, facing="north")  # type: ignore[arg-type]
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    with pytest.raises(DataError, match="target skeleton"):
        offsets_from_file(tmp_path / "a.npy")
    with pytest.raises(DataError, match="target skeleton"):
        offsets_from_file(tmp_path / "absent.npy")


def test_reference_person_is_the_published_one(shared):
    path = shared("golden/hmu/dev/features/real/target_skeleton_000021_frame0_52x3.npy")
    np.testing.assert_allclose(humanml3d_offsets(), offsets_from_file(path), atol=1e-6)
