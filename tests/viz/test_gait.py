"""Pictures of gait."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from hmu.errors import DataError
from hmu.gait.cycles import gait_cycles
from hmu.gait.figure import gait_stick_figure
from hmu.gait.representation import GAIT
from hmu.gait.standard import standard
from hmu.viz.animate import render_frames, render_gif
from hmu.viz.gait import VIEW, cycle_plot, pressure_plot
from hmu.viz.scene import FORCE, SIDE_COLOURS
from tests.gait.conftest import demo_trial


@pytest.fixture(scope="module")
def window() -> torch.Tensor:
    return torch.from_numpy(standard(demo_trial("walk", 0.5, 3.0, 0))[0].states[40:190])


def colours(image: Image.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in image.getcolors(1 << 20)}


def test_a_frame_shows_both_legs_and_the_force(window):
    frames = list(render_frames([("base", gait_stick_figure(window))], GAIT.stick, size=(160, 180), **VIEW))
    assert len(frames) == 38  # 1.5 s at 25 frames per second
    assert {SIDE_COLOURS[1], SIDE_COLOURS[-1], FORCE} <= colours(frames[10])


def test_without_contact_there_is_no_arrow(window):
    from hmu.gait import columns

    flying = window.clone()
    flying[:, columns.KINETIC_COLUMNS] = 0
    frames = list(render_frames([("", gait_stick_figure(flying))], GAIT.stick, size=(160, 180)))
    assert all(FORCE not in colours(frame) for frame in frames)


def test_files_are_written(window, tmp_path):
    figure = gait_stick_figure(window)
    gif = render_gif([("base", figure), ("unlearned", figure)], tmp_path / "a.gif", GAIT.stick, caption="equal noise")
    with Image.open(gif) as image:
        assert image.n_frames == 38
        assert image.info["duration"] == 40
    cycles = gait_cycles(window[None])
    for path in (
        cycle_plot({"real": cycles, "none": gait_cycles(window[None] * 0)}, tmp_path / "c.png", title="walk"),
        pressure_plot({"real": gait_stick_figure(window[None])}, tmp_path / "p.png"),
    ):
        assert path.stat().st_size > 5000


def test_what_cannot_be_drawn_is_said(window, tmp_path):
    with pytest.raises(DataError, match="one motion"):
        list(render_frames([("", gait_stick_figure(window[None]))], GAIT.stick))
    with pytest.raises(DataError, match="nothing to draw"):
        list(render_frames([], GAIT.stick))
    with pytest.raises(DataError, match="NaN"):
        list(render_frames([("", gait_stick_figure(window * torch.nan))], GAIT.stick))
    with pytest.raises(DataError, match="gait cycle"):
        cycle_plot({"none": gait_cycles(window[None] * 0)}, tmp_path / "c.png")
    with pytest.raises(DataError, match="on the ground"):
        pressure_plot({"none": gait_stick_figure(window[None] * 0)}, tmp_path / "p.png")
