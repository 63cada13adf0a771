"""Recordings as the authors' data path reads them: solid ground by name, cuts at jumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hmu.gait import columns
from hmu.gait.export import forces_of, poses_from
from hmu.gait.preprocess import belt_speed, heels_and_toes
from hmu.gait.skeleton import Skeleton
from tests.gait.conftest import demo_trial
from tests.parity.gait_recording import Recording, convert, convert_for_training, solid_ground

KNEE = columns.osim(["knee_angle_r"])[0]
FRAMES, JUMP = 500, 220


@pytest.fixture(scope="module")
def recording() -> Recording:
    trial = demo_trial(seconds=5.0)
    (forces, cops), poses = forces_of(trial), poses_from(trial)
    heels, _ = heels_and_toes(poses, Skeleton.generic(trial.height))
    missing = np.zeros(len(trial), dtype=bool)
    return Recording(poses, forces, cops, missing, trial.mass, trial.height, trial.fps, heels)


def jumping(recording: Recording, degrees: float) -> Recording:
    """The right knee is ``degrees`` more bent from frame ``JUMP`` on; 50 within a frame of 100 Hz are 5,000 per s."""
    poses = recording.poses.copy()
    poses[JUMP:, KNEE] += np.deg2rad(degrees)
    return replace(recording, poses=poses)


def parts(recording: Recording, **choices) -> list:
    return convert_for_training(recording, Skeleton.generic(recording.height), name="t", **choices)


def test_a_jump_of_5000_degrees_per_second_cuts_a_trial_in_two(recording):
    assert [len(part.trial) for part in parts(recording)] == [FRAMES]
    cut = parts(jumping(recording, 50))
    assert [len(part.trial) for part in cut] == [JUMP - 4, FRAMES - JUMP - 4]
    whole = convert(jumping(recording, 50), Skeleton.generic(recording.height), name="t", variant="upstream").trial
    assert len(whole) == FRAMES  # evaluation does not cut
    kinetics = columns.KINETIC_COLUMNS
    assert np.array_equal(cut[1].trial.states[:, kinetics], whole.states[JUMP + 2 : -2, kinetics])
    assert cut[0].trial.root == "velocity"


@pytest.mark.parametrize("degrees", [19, -50])
def test_slower_changes_and_jumps_back_cut_nothing(recording, degrees):
    assert len(parts(jumping(recording, degrees))) == 1


def test_a_part_without_a_window_is_left_out(recording):
    assert len(parts(jumping(recording, 50), window=250)) == 1
    missing = recording.missing.copy()
    missing[JUMP + 100] = True
    found = parts(replace(jumping(recording, 50), missing=missing))
    assert [len(part.trial) for part in found] == [JUMP - 4, FRAMES - JUMP - 4]  # 175 clean frames are left behind it
    missing[JUMP + 150] = True
    assert len(parts(replace(jumping(recording, 50), missing=missing))) == 1


@pytest.mark.parametrize(
    ("source", "solid"),
    [
        ("Camargo2021_Formatted_No_Arm/AB06", True),
        ("Camargo2021_Formatted_No_Arm/AB06_split5", False),
        ("Uhlrich2023_Formatted_No_Arm/s1", False),  # overground, but the authors' rule misses it
        ("", False),
    ],
)
def test_solid_ground_by_the_authors_rule(recording, source, solid):
    assert solid_ground(source) is solid
    moving = replace(recording, poses=recording.poses.copy())
    moving.poses[:, columns.osim(["pelvis_tx"])] -= np.arange(FRAMES)[:, None] / 100  # a belt of 1 m/s
    body = Skeleton.generic(recording.height)
    speed, still = (
        convert(moving, body, name="t", source=where, variant="upstream").trial.states[:, 0].mean()
        for where in (source, "camargo")
    )
    assert bool(abs(speed - still) < 1e-9) is solid
    if not solid:
        assert (speed - still) * recording.height == pytest.approx(1.0, abs=0.1)


def test_the_users_word_on_the_ground_counts():
    toes = np.full((50, 2, 3), -1.0)
    assert not belt_speed(toes, False).any()
    assert np.allclose(belt_speed(toes, True), -1)
    assert np.allclose(belt_speed(toes, None), -1)
    slow = toes * 0.1
    assert not belt_speed(slow, None).any()
    assert np.allclose(belt_speed(slow, True), -0.1)


def test_a_foot_that_never_stands_does_not_halve_the_belts_speed():
    toes = np.full((50, 2, 3), -1.0)
    toes[:, 1] = np.nan
    assert np.allclose(belt_speed(toes, None), -1)
    assert not belt_speed(np.full((50, 2, 3), np.nan), True).any()
