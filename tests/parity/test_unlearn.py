"""The fork's losses: our numbers pass, a corrupted vector fails, an unknown file fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared
from tests.parity.unlearn import KINDS

CORRUPTED = {"unlearn_lora": "loss_vs_target_masked_configured_betas", "unlearn_esd": "formula_loss_masked_zeroed"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_case_passes_and_a_corrupted_one_fails(kind, tmp_path):
    case = shared(f"golden/salad/dev/{kind}")
    checks = list(KINDS[kind](case))
    assert len(checks) > 10
    assert [check for check in checks if not check.passed] == []
    spoilt = spoil(case, tmp_path, CORRUPTED[kind])
    failed = {check.name for check in KINDS[kind](spoilt) if not check.passed}
    assert failed == {CORRUPTED[kind], "file 'notes.txt' of unknown kind"}


def spoil(case: Path, folder: Path, name: str) -> Path:
    """A copy of ``case`` with one value changed and a file too many."""
    (folder / "checkpoints").symlink_to(case.parent / "checkpoints")
    copy = folder / f"{case.name}_other"
    shutil.copytree(case, copy)
    (copy / "vectors.npz").chmod(0o644)
    copy.chmod(0o755)
    with np.load(case / "vectors.npz") as arrays:
        values = dict(arrays)
    values[name] = values[name] * 1.001 + 1e-3  # a difference of two losses may be close to 0
    np.savez(copy / "vectors.npz", **values)
    (copy / "notes.txt").write_text("?")
    return copy
