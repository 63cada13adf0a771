"""UCE, RECE and LCR against the published code: stored numbers pass, a corrupted one and an unknown file fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared
from tests.parity import lcr, uce_rece

KINDS = {**uce_rece.KINDS, **lcr.KINDS}
FOLDERS = {"uce_rece": "hmu", "lcr": "hmu", "unlearn_uce": "salad"}
#: per kind: the file to spoil, an array in it, and the check that must then fail
SPOILT = {
    "uce_rece": ("tensor_default.npz", "f64_W1_after3", "tensor_default f64_W1_after3"),
    "lcr": ("vectors.npz", "orth_alpha07__new_rows", "orth_alpha07 new_rows"),
    "unlearn_uce": ("vectors.npz", "pred_after", "pred_after"),
}


def case(kind: str) -> Path:
    return shared(f"golden/{FOLDERS[kind]}/dev/{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_case_passes(kind):
    checks = list(KINDS[kind](case(kind)))
    assert len(checks) > 20
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupted_array_and_an_unknown_file_fail(kind, tmp_path):
    file, array, name = SPOILT[kind]

    def change(folder: Path) -> None:
        with np.load(folder / file) as stored:
            arrays = dict(stored)
        arrays[array] = arrays[array] * 1.01 + 0.01
        np.savez(folder / file, **arrays)
        (folder / "notes.txt").write_text("?")

    failed = {check.name for check in KINDS[kind](spoil(case(kind), tmp_path, change)) if not check.passed}
    assert name in failed
    assert len(failed) == 2
    assert any("notes" in check for check in failed)


def spoil(folder: Path, target: Path, change: Callable[[Path], None]) -> Path:
    """A copy of ``folder`` beside the checkpoints it needs, changed."""
    (target / "checkpoints").symlink_to(folder.parent / "checkpoints")
    copy = target / folder.name
    shutil.copytree(folder, copy)
    for path in (copy, *copy.iterdir()):
        path.chmod(0o755)
    change(copy)
    return copy


def test_another_selection_of_codes_fails(tmp_path):
    def change(folder: Path) -> None:
        ids = (folder / "forget_ids.txt").read_text().split()
        (folder / "forget_ids.txt").write_text("\n".join(ids[3:]) + "\n")

    failed = {check.name for check in lcr.lcr(spoil(case("lcr"), tmp_path, change)) if not check.passed}
    assert {"positive", "L0_forget_counts", "L1_ratio_raw"} <= failed


def test_ties_may_fall_either_way_but_only_ties():
    ratio = np.array([3.0, 2.0, 2.0, 1.0, 0.0])
    assert lcr._same_best("x", ratio, np.array([0, 2]), 1).passed
    assert not lcr._same_best("x", ratio, np.array([1, 2]), 1).passed
    assert not lcr._same_best("x", ratio, np.array([0, 3]), 1).passed
