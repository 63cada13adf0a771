"""The data side of the golden vectors passes, and a corrupted vector fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared
from tests.parity.dataset import dataset
from tests.parity.splits import splits

CASES = {splits: "golden/hmu/dev/splits", dataset: "golden/hmu/dev/dataset"}


def failed(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def make(relative: str) -> Path:
        target = tmp_path / Path(relative).name
        shutil.copytree(shared(relative), target, copy_function=shutil.copyfile)
        for path in [target, *target.rglob("*")]:
            path.chmod(0o755)
        return target

    return make


@pytest.mark.parametrize("kind", CASES, ids=lambda k: k.__name__)
def test_golden(kind) -> None:
    checks = list(kind(shared(CASES[kind])))
    assert len(checks) > 20
    assert failed(checks) == []


def test_corrupted_splits_fail(copy) -> None:
    case = copy(CASES[splits])
    (case / "texts" / "000008.txt").write_text("nothing of the kind\n")
    assert any("violence" in name for name in failed(splits(case)))
    (case / "stray.bin").touch()
    assert "unknown file stray.bin" in failed(splits(case))


def test_corrupted_refinement_fails(copy) -> None:
    case = copy(CASES[splits])
    records = json.loads((case / "tmr_records.json").read_text())
    records["records"] = [r for r in records["records"] if r["name"] != "000008"]
    (case / "tmr_records.json").write_text(json.dumps(records))
    assert "tmr_min_occurence=8" in failed(splits(case))


def test_corrupted_arrays_fail(copy) -> None:
    case = copy(CASES[dataset])
    arrays = dict(np.load(case / "vectors.npz"))
    name = next(key for key in arrays if "__motion_" in key)
    arrays[name][0, 0] += 1e-4
    np.savez(case / "vectors.npz", stray=np.zeros(1), **arrays)
    assert failed(dataset(case)) == [name, "unknown array stray"]
