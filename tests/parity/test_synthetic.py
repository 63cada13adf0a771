"""Cases that the shared set lacks are read without a setting too many, pass, and fail once a value is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.parity import synthetic_gait, synthetic_hmu, synthetic_salad, synthetic_tokens
from tests.parity.copies import run, spoil

SYSTEMS = {"salad": synthetic_salad.WRITERS, "gaitdynamics": synthetic_gait.WRITERS,
           "momask": synthetic_tokens.MOMASK, "bamm": synthetic_tokens.BAMM, "hmu": synthetic_hmu.HMU,
           "evaluators": synthetic_hmu.EVALUATORS}  # fmt: skip
KINDS = [f"{system}/{kind}" for system, writers in SYSTEMS.items() for kind in writers]


def _holding(case: Path, name: str) -> tuple[Path, str]:
    """The file of an array; ``file:array`` where several have it."""
    file, _, array = name.rpartition(":")
    paths = [case / f"{file}.npz"] if file else sorted(case.rglob("*.npz"))
    return next((path, array) for path in paths if array in np.load(path).files)


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_synthetic_case_is_read_and_a_changed_value_fails(kind, full, tmp_path):
    system, name = kind.split("/")
    write, arrays = SYSTEMS[system][name]
    case = write(tmp_path / system, full)
    line, passed = run(case, strict=True)
    assert passed, line
    for array in arrays.split():
        path, inside = _holding(case, array)
        stored = path.read_bytes()
        spoil(path, inside)
        line, passed = run(case)
        assert not passed, f"{array}: {line}"
        assert "comparisons, worst" in line, line
        path.write_bytes(stored)
