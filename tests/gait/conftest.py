"""Small gait trials for the tests."""

from __future__ import annotations

import numpy as np
import pytest

from hmu.gait.columns import STATES
from hmu.gait.demo.build import make, person
from hmu.gait.demo.curves import STYLES
from hmu.gait.trial import Trial, npz_bytes
from hmu.gait.windows import Reading

READING = Reading(window=150, strict=True, root="auto", treadmill=None, shares=(0.7, 0.15, 0.15))


def demo_trial(style: str = "walk", share: float = 0.5, seconds: float = 3.0, seed: int = 0) -> Trial:
    """One procedural trial, root in metres."""
    rng = np.random.default_rng(seed)
    chosen = next(s for s in STYLES if s.name == style)
    return make(chosen, person(rng), share, seconds, rng)


@pytest.fixture(scope="session")
def walking() -> Trial:
    return demo_trial()


def raw(frames: int = 200, **changes):
    """The arrays of a trial file; a change of None leaves the key out."""
    rng = np.random.default_rng(0)
    states = rng.normal(0, 0.1, (frames, len(STATES))).astype(np.float32)
    arrays = {
        "model_states": states,
        "model_states_columns": np.array(STATES, dtype=object),
        "probably_missing": np.zeros(frames, dtype=bool),
        "height_m": np.float64(1.7),
        "weight_kg": np.float64(70.0),
        "sampling_rate": np.int64(100),
        "pos_vec": np.array([0.0, 0.9, 0.0], dtype=np.float32),
    }
    arrays |= changes
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.fixture
def write_raw():
    def write(path, **changes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(npz_bytes(raw(**changes)))
        return path

    return write
