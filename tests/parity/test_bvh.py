from __future__ import annotations

import shutil

import numpy as np

from tests.conftest import shared
from tests.parity import bvh


def test_bvh_matches_the_authors():
    checks = list(bvh.run(shared("golden/hmu/dev/bvh")))
    assert len(checks) > 20
    assert [check.name for check in checks if not check.passed] == []


def test_a_corrupted_vector_fails(tmp_path):
    folder = tmp_path / "bvh"
    shutil.copytree(shared("golden/hmu/dev/bvh"), folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    with np.load(folder / "vectors.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    arrays["remove_fs_out"] = arrays["remove_fs_out"] + 1e-3
    (folder / "vectors.npz").unlink()
    np.savez(folder / "vectors.npz", **arrays)
    (folder / "odd.bvh.txt").write_text("HIERARCHY")
    failed = [check.name for check in bvh.run(folder) if not check.passed]
    assert failed == ["odd.bvh.txt: unknown kind of file", "remove_fs"]
