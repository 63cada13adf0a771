from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.preprocess import headings
from hmu.gait.rotations import about
from hmu.gait.standard import standard
from hmu.gait.trial import write_trial
from hmu.gait.windows import clean_runs, read_tree, trial_files
from tests.gait.conftest import READING, demo_trial
from tests.parity.gait_recording import padded, starts, tile


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 12))
def test_starts_are_exactly_the_clean_windows(flags, window):
    missing = np.array(flags, dtype=bool)
    expected = [a for a in range(len(missing) - window + 1) if not missing[a : a + window].any()]
    assert starts(missing, window).tolist() == expected
    every = list(range(max(len(missing) - window + 1, 0)))
    assert starts(missing, window, "upstream").tolist() == (expected or every)  # their fallback trains on bad frames


def test_runs_hold_no_missing_frame_and_everything_else_is_accounted_for():
    trial = demo_trial(seconds=6.0)
    trial.missing[[0, 1, 200, 201, 380]] = True
    ready, _ = standard(trial)
    kept, dropped = clean_runs(ready, 150)
    assert [(r.start, r.stop) for r in kept] == [(2, 200), (202, 380), (381, 600)]
    assert all(not ready.missing[r.start : r.stop].any() for r in kept)
    kept, dropped = clean_runs(ready, 190)
    covered = sorted([(r.start, r.stop) for r in kept] + [(d.start, d.stop) for d in dropped])
    assert [a for a, _ in covered[1:]] == [b for _, b in covered[:-1]]
    assert (covered[0][0], covered[-1][1]) == (0, 600)
    assert {d.reason for d in dropped} == {"marked as missing", "clean, but shorter than a window of 190 frames"}


def test_root_in_metres_becomes_the_speed_that_was_walked(walking):
    ready, said = standard(walking)
    travelled = walking.states[-1, 0] / (len(walking) - 1) * 100
    assert ready.states[:, 0].mean() * walking.height == pytest.approx(travelled, rel=0.01)
    assert any("metres" in what for what in said)
    again, nothing = standard(ready)
    assert nothing == []
    assert np.array_equal(again.states, ready.states)


def test_a_trial_at_250_hz_is_resampled_by_its_own_rate(walking):
    from hmu.gait.filters import resample

    ready, _ = standard(walking)
    fast = replace(walking, states=resample(walking.states, 100, 250), fps=250.0, missing=np.zeros(748, bool))
    slow, said = standard(fast)
    assert said[0] == "resampled from 250 to 100 Hz"
    assert abs(len(slow) - len(ready)) <= 1
    inner = slice(20, min(len(slow), len(ready)) - 20)
    for name in ("ROOT", "ANGLES", "ANGULAR", "ANGLE_VELOCITIES"):
        chosen = columns.states(getattr(columns, name))
        scale = np.abs(ready.states[inner, chosen]).max()
        assert np.abs(slow.states[inner, chosen] - ready.states[inner, chosen]).max() < 0.05 * scale, name


def test_a_treadmill_is_found_by_its_stance_feet(walking):
    still = walking.states.copy()
    frames = np.arange(len(still))
    still[:, 0] -= walking.states[-1, 0] * frames / frames[-1]
    belt, said = standard(replace(walking, states=still))
    ground, _ = standard(walking)
    assert "belt" in said[-1]
    assert belt.states[:, 0].mean() == pytest.approx(ground.states[:, 0].mean(), rel=0.1)
    assert abs(standard(replace(walking, states=still), treadmill=False)[0].states[:, 0].mean()) < 0.05


def test_walking_towards_minus_180_degrees_is_no_turn():
    import torch

    angles = torch.tensor([3.1, 3.14, -3.14, -3.1], dtype=torch.float64)
    turned = about("y", -angles)
    assert np.ptp(headings(turned)) < 0.1
    assert np.ptp(headings(turned, "upstream")) > 6  # and the authors reject it


def test_tiles_and_padding():
    assert tile(420, 150, 20, short=False)[-1] == (280, 420)
    assert tile(420, 150, 60, short=True)[-1] == (360, 420)
    states = np.ones((100, 63), np.float32)
    values, known = padded(states, 10, 60, 150, right=True)
    assert values[:100].sum() == 0
    assert values[100:].sum() == 50 * 63
    assert known.sum() == 50 * len(columns.KINEMATIC_COLUMNS)


def test_folders_without_trials_and_names_that_collide_are_said(tmp_path, walking):
    with pytest.raises(DataError, match="no such folder"):
        trial_files(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no trial"):
        trial_files(tmp_path)
    write_trial(tmp_path / "a" / "b__c.npz", walking)
    write_trial(tmp_path / "a__b" / "c.npz", walking)
    with pytest.raises(DataError, match="two trials would both be called 'a__b__c__0'"):
        read_tree(tmp_path, READING)
