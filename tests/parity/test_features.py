from __future__ import annotations

import shutil

import numpy as np
import pytest

from hmu.motion.features import bone_offsets, features_to_joints, joints_to_features
from hmu.motion.skeleton import KIT, T2M
from tests.motion.walker import walker
from tests.parity.features import KINDS


def failures(folder):
    return [check for check in KINDS["features"](folder) if not check.passed]


@pytest.fixture
def case(tmp_path):
    """A case of our own making: one clip per skeleton with every array that can be derived."""
    folder = tmp_path / "features"
    folder.mkdir()
    for kind, skeleton in (("raw_x1", T2M), ("kit_y22", KIT)):
        joints = walker(40, 1, skeleton)
        target = bone_offsets(joints[0], skeleton)
        features = joints_to_features(joints, skeleton, target_offsets=target)
        decoded = features_to_joints(features, skeleton)
        np.savez(
            folder / f"{kind}.npz", joints_in=joints, target_offsets=target, features=features, rec_from_ric=decoded
        )
    return folder


def test_own_clips_pass_and_a_corrupted_number_fails(case):
    assert not failures(case)
    stored = dict(np.load(case / "raw_x1.npz"))
    for key in ("features", "rec_from_ric"):
        broken = stored | {key: stored[key].copy()}
        broken[key].flat[5] += 1e-3
        np.savez(case / "raw_x1.npz", **broken)
        assert failures(case), key
    broken = stored | {"features": stored["features"].copy()}
    broken["features"][3, 3] = np.nan
    np.savez(case / "raw_x1.npz", **broken)
    assert failures(case)


def test_unknown_and_missing_files_fail(case):
    shutil.copy(case / "raw_x1.npz", case / "novelty_1.npz")
    assert any("novelty" in check.name for check in failures(case))
    for path in case.iterdir():
        path.unlink()
    assert failures(case)


def test_published_vectors(shared):
    assert not failures(shared("golden/hmu/dev/features"))
