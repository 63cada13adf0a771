"""Shared helpers of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # models are tiny here: more threads wait for each other longer than they compute


def shared(relative: str) -> Path:
    """A file of the acceptance material that is not part of the project; the test is skipped where it is absent."""
    root = Path(os.environ.get("HMU_SHARED", REPOSITORY.parent / "shared"))
    path = root / relative
    if not path.exists():
        pytest.skip(f"needs '{relative}' of the shared material (set HMU_SHARED); absent here")
    return path


@pytest.fixture(name="shared")
def shared_fixture():
    return shared
