"""Stick figures with force arrows, and gait cycles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmu.gait.cycles import LEG, POINTS, gait_cycles
from hmu.gait.figure import ARROW, EDGES, NAMES, SIDES, gait_stick_figure
from hmu.gait.skeleton import SHANK, THIGH
from hmu.gait.standard import standard
from hmu.gait.statistics import loads
from tests.gait.conftest import demo_trial


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    trials = [standard(demo_trial(style, 0.5, 3.0, 0))[0] for style in ("walk", "run")]
    return torch.stack([torch.from_numpy(trial.states[40:190]) for trial in trials])


def test_bones_have_the_lengths_of_the_body_and_feet_stand_on_the_floor(windows):
    figure = gait_stick_figure(windows, 1.8)
    assert figure.positions.shape == (2, 150, len(NAMES), 3)
    assert len(SIDES) == len(EDGES)
    for pair, length in ((("hip_r", "knee_r"), THIGH), (("knee_l", "ankle_l"), SHANK)):
        a, b = (figure.positions[..., NAMES.index(name), :] for name in pair)
        torch.testing.assert_close((a - b).norm(dim=-1), torch.full((2, 150), length * 1.8, dtype=torch.float64))
    feet = figure.positions[0][:, [NAMES.index(f"{end}_{side}") for end in ("calcn", "mtp") for side in "rl"], 1]
    assert abs(float(feet.amin(-1).mean())) < 0.03
    assert bool((figure.positions[..., NAMES.index("head"), 1] > 1.4).all())


def test_everything_grows_with_the_body(windows):
    small, tall = (gait_stick_figure(windows, height).positions for height in (1.0, 2.0))
    torch.testing.assert_close(2 * small, tall)


def test_arrows_start_below_the_foot_and_are_as_long_as_the_force(windows):
    figure = gait_stick_figure(windows, 1.7)
    tail, head = figure.arrows.unbind(-2)
    heels = figure.positions[..., [NAMES.index("calcn_r"), NAMES.index("calcn_l")], :]
    on = loads(windows) > 0.05
    assert bool(on.any())
    assert not bool(on.all())
    torch.testing.assert_close(tail[~on], heels[~on])
    torch.testing.assert_close(head[~on], heels[~on])
    torch.testing.assert_close((head - tail)[..., 1][on], ARROW * loads(windows)[on])
    assert float((tail - heels)[on][..., [0, 2]].norm(dim=-1).quantile(0.95)) < 0.35


def test_one_window_needs_no_batch(windows):
    torch.testing.assert_close(gait_stick_figure(windows[0]).positions, gait_stick_figure(windows).positions[0])


def test_cycles_begin_with_a_strike_and_look_like_walking(windows):
    cycles = gait_cycles(windows)
    assert set(cycles.curves) == {*LEG, "force_x", "force_y"}
    assert len(cycles) >= 2
    assert all(curve.shape == (len(cycles), POINTS) for curve in cycles.curves.values())
    walking = cycles.curves["knee_angle"][cycles.window == 0]
    assert len(walking)
    peak = walking.mean(0)
    assert 60 <= int(peak.argmax()) <= 85  # per cent of the cycle: knees bend most in swing
    assert 40 < peak.max() < 80
    vertical = cycles.curves["force_y"][cycles.window == 0].mean(0)
    assert vertical[:10].mean() < vertical[15:50].mean()
    assert vertical[80:95].max() < 0.05
    assert ((cycles.seconds > 0.4) & (cycles.seconds < 2)).all()


def test_windows_without_two_strikes_have_no_cycle(windows):
    still = windows[:1].clone()
    still[...] = 0
    cycles = gait_cycles(still)
    assert len(cycles) == 0
    assert cycles.curves["knee_angle"].shape == (0, POINTS)
    assert np.isfinite(cycles.seconds).all()
