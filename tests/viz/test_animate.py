import builtins
import time

import numpy as np
import pytest
import torch
from PIL import Image

from hmu.errors import DataError, MissingExtra
from hmu.motion.skeleton import T2M
from hmu.motion.stick import CHAIN_WIDTHS, Figure, Stick
from hmu.viz import scene
from hmu.viz.animate import render, render_frames, render_gif
from hmu.viz.draw import font, wrap

STICK = Stick.of(T2M)


def figure(joints):
    positions = torch.as_tensor(joints)
    return Figure(positions, torch.zeros(*positions.shape[:1], 0, 2, 3))


def person(frames=10, step=0.0):
    joints = np.zeros((frames, 22, 3))
    heights = [
        0.9,
        0.85,
        0.85,
        1.0,
        0.5,
        0.5,
        1.1,
        0.1,
        0.1,
        1.2,
        0.02,
        0.02,
        1.4,
        1.35,
        1.35,
        1.55,
        1.35,
        1.35,
        1.1,
        1.1,
        0.9,
        0.9,
    ]
    joints[:, :, 1] = heights
    joints[:, [1, 4, 7, 10, 13, 16, 18, 20], 0] = 0.15
    joints[:, [2, 5, 8, 11, 14, 17, 19, 21], 0] = -0.15
    joints[:, [10, 11], 2] = 0.15
    joints[:, :, 2] += np.arange(frames)[:, None] * step
    return joints


def pixels(image, colour):
    return int((np.asarray(image.convert("RGB")).astype(int) - colour).__abs__().sum(-1).__lt__(40).sum())


def test_gif_of_three_panels_is_fast_and_complete(tmp_path):
    path = tmp_path / "deep" / "a.gif"
    start = time.process_time()
    panels = [
        ("base", figure(person(60, 0.03))),
        ("unlearned", figure(person(30))),
        ("ground truth", figure(person(60))),
    ]
    assert render_gif(panels, path, STICK, caption="a person kicks") == path
    assert time.process_time() - start < 6  # about one second of one core
    with Image.open(path) as image:
        assert image.n_frames == 60
        assert image.info["duration"] == 50
        assert image.info["loop"] == 0
        assert image.size[0] == 900
    assert [p.name for p in path.parent.iterdir()] == ["a.gif"]


def test_left_is_cool_right_is_warm_and_on_its_side():
    (image,) = render_frames([("", figure(person(1)))], STICK, azimuth=0.0)
    array = np.asarray(image).astype(int)
    left = np.argwhere(np.abs(array - scene.CHAIN_COLOURS[1]).sum(-1) < 10)
    right = np.argwhere(np.abs(array - scene.CHAIN_COLOURS[0]).sum(-1) < 10)
    assert len(left) > 100
    assert len(right) > 100
    assert left[:, 1].mean() > image.width / 2 > right[:, 1].mean()  # seen from the front


def test_camera_follows_and_near_things_are_larger():
    camera = scene.Camera(200, 200, azimuth=0.0, elevation=0.0)
    target = np.array([0.0, 1.0, 0.0])
    points, scale = camera.project(
        np.array([[0.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.5, 0.0], [0.0, 1.0, 2.0]]), target
    )
    assert np.allclose(points[0], 100)
    assert points[1, 0] > 100
    assert points[2, 1] < 100
    assert scale[3] > scale[0]
    walk = person(80, 0.05)
    targets = scene.camera_targets(walk, 20.0)
    assert np.allclose(targets[30:50, 2], walk[30:50, 0, 2])
    frames = list(render_frames([("", figure(walk))], STICK))
    assert abs(pixels(frames[10], scene.CHAIN_COLOURS[1]) - pixels(frames[60], scene.CHAIN_COLOURS[1])) < 60


def test_shorter_motion_holds_its_last_pose():
    frames = list(render_frames([("a", figure(person(2))), ("b", figure(person(5)))], STICK))
    assert len(frames) == 5


@pytest.mark.parametrize(
    "joints", [np.zeros((5, 21, 3)), np.zeros((0, 22, 3)), np.zeros((5, 22)), np.full((5, 22, 3), np.nan)]
)
def test_bad_joints_are_refused(joints):
    with pytest.raises(DataError, match="cannot draw"):
        list(render_frames([("a", figure(joints))], STICK))


def test_no_panels_and_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="at least one"):
        list(render_frames([], STICK))
    with pytest.raises(DataError, match=r"\.gif or \.mp4"):
        render([("a", figure(person()))], tmp_path / "a.avi", STICK)


def test_mp4(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = render([("a", figure(person(6)))], tmp_path / "a.mp4", STICK, size=(101, 121))
    assert path.stat().st_size > 500
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_mp4_without_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "imageio_ffmpeg":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"hmu\[video\]"):
        render([("a", figure(person()))], tmp_path / "a.mp4", STICK)


def test_wrap():
    face = font(14)
    assert wrap("", face, 100) == []
    lines = wrap("one two three four five six seven eight nine ten", face, 100, lines=2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(face.getlength(line) <= 100 for line in lines)


def test_skeleton_has_a_colour_for_each_chain():
    assert len(scene.CHAIN_COLOURS) == len(CHAIN_WIDTHS) == len(T2M.chains)
