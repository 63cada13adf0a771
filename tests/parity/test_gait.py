"""Our GaitDynamics against the authors' vectors; a vector that was tampered with must fail."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.parity.__main__ import run_case
from tests.parity.gait import checkpoint, column_lists, decoder, kinematics, optim
from tests.parity.gait_data import preprocess, trials

QUICK = {
    "columns": column_lists,
    "checkpoint": checkpoint,
    "decoder": decoder,
    "kinematics": kinematics,
    "optim": optim,
    "trials": trials,
    "preprocess": preprocess,
}


@pytest.mark.parametrize("name", QUICK)
def test_case(name, shared):
    line, passed = run_case(shared(f"golden/gaitdynamics/dev/{name}"), QUICK[name])
    assert passed, line


@pytest.mark.parametrize(
    ("name", "file", "array"),
    [
        ("kinematics", "vectors.npz", "fk/real/joints"),
        ("optim", "vectors.npz", "p"),
        ("checkpoint", "vectors.npz", "out"),
        ("trials", "expected.npz", "0/pos_vec"),
    ],
)
def test_a_corrupted_vector_fails(name, file, array, shared, tmp_path):
    case = tmp_path / name
    shutil.copytree(shared(f"golden/gaitdynamics/dev/{name}"), case)
    for path in [case, *case.rglob("*")]:
        path.chmod(0o755)
    with np.load(case / file) as stored:
        arrays = dict(stored)
    arrays[array] = arrays[array] + 1e-2
    np.savez(case / file, **arrays)
    line, passed = run_case(case, QUICK[name])
    assert not passed, line


def test_an_unknown_file_and_an_unknown_array_fail(shared, tmp_path):
    case = tmp_path / "optim"
    shutil.copytree(shared("golden/gaitdynamics/dev/optim"), case)
    for path in [case, *case.rglob("*")]:
        path.chmod(0o755)
    (case / "surprise.bin").write_bytes(b"x")
    assert not run_case(case, optim)[1]
    (case / "surprise.bin").unlink()
    with np.load(case / "vectors.npz") as stored:
        np.savez(case / "vectors.npz", **dict(stored), surprise=np.zeros(3))
    assert not run_case(case, optim)[1]
