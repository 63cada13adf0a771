from __future__ import annotations

import csv
import re
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.data.demo import ACTIONS, generate
from hmu.errors import ConfigError, HmuError
from hmu.motion import detectors
from hmu.tools.detectors_report import CONTAINED, confusion, fill, padded, rules
from tests.conftest import REPOSITORY
from tests.motion.test_kinematics import standing

SWAP = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Joints, lengths, and per clip its actions and sides, of a small demo set."""
    root = tmp_path_factory.mktemp("detectors") / "demo"
    generate(root, seed=77, clips=8 * len(ACTIONS))
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    joints, lengths = padded([np.load(root / "new_joints" / f"{row['id']}.npy") for row in rows])
    return joints, lengths, [row["actions"].split(";") for row in rows], [row["side"].split(";") for row in rows]


@pytest.fixture(scope="module")
def few(demo):
    """One clip with one action for every action: joints, lengths, actions."""
    joints, lengths, truth, _ = demo
    chosen = [next(i for i, actions in enumerate(truth) if actions == [name]) for name in ACTIONS]
    return joints[chosen], lengths[chosen], list(ACTIONS)


def label(joints, lengths=None):
    """The set of concepts found in each clip."""
    found = detectors.detect_each(detectors.names(), joints, lengths)
    return [{name for name, hits in found.items() if hits[i]} for i in range(len(joints) if joints.ndim == 4 else 1)]


def rotated(joints, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return joints @ np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]]).T


def test_every_action_has_a_detector_of_its_name():
    assert set(ACTIONS) <= set(detectors.names())


@pytest.mark.parametrize("name", ACTIONS)
def test_recall_and_false_positives_on_the_demo_set(demo, name):
    joints, lengths, truth, _ = demo
    found = detectors.detect(name, joints, lengths)
    has = np.array([name in actions for actions in truth])
    free = np.array([name not in actions and not any((a, name) in CONTAINED for a in actions) for actions in truth])
    assert found[has].mean() >= 0.95
    assert found[free].mean() <= 0.03


@pytest.mark.parametrize("name", ["kick", "punch", "throw", "wave", "hop", "turn", "step_sideways"])
def test_sides_are_told_apart(demo, name):
    joints, lengths, truth, sides = demo
    for side, other in (("left", "right"), ("right", "left")):
        mine = np.array([actions == [name] and which == [side] for actions, which in zip(truth, sides, strict=True)])
        if mine.any():
            assert detectors.detect(f"{name}_{side}", joints[mine], lengths[mine]).all()
            assert not detectors.detect(f"{name}_{other}", joints[mine], lengths[mine]).any()


@settings(max_examples=6, deadline=None)
@given(
    angle=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-5, 5), st.floats(-1, 1), st.floats(-5, 5)),
    scale=st.floats(0.8, 1.25),
)
def test_heading_place_and_rigid_motion_do_not_matter(few, angle, shift, scale):
    joints, lengths, _ = few
    plain = detectors.detect_each(detectors.names(), joints, lengths)
    moved = detectors.detect_each(detectors.names(), rotated(joints, angle) * scale + np.array(shift), lengths)
    assert all(np.array_equal(plain[name], moved[name]) for name in plain)


def test_mirroring_swaps_the_sides(few):
    joints, lengths, _ = few
    mirrored = joints[:, :, SWAP] * np.array([-1.0, 1.0, 1.0])
    for name in ("kick", "punch", "throw", "wave", "raise_arms", "hop", "turn", "step_sideways"):
        for side, other in (("left", "right"), ("right", "left")):
            here = detectors.detect(f"{name}_{side}", joints, lengths)
            assert np.array_equal(detectors.detect(f"{name}_{other}", mirrored, lengths), here), (name, side)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.005, 0.01, 0.015]))
def test_small_noise_changes_little(few, seed, sigma):
    joints, lengths, actions = few
    plain = detectors.detect_each(detectors.names(), joints, lengths)
    noisy = detectors.detect_each(
        detectors.names(), joints + np.random.default_rng(seed).normal(0, sigma, joints.shape), lengths
    )
    flips = sum(int((plain[name] != noisy[name]).sum()) for name in plain)
    assert flips <= 0.01 * len(plain) * len(actions)
    assert noisy["kick"].tolist() == [action == "kick" for action in actions]


def test_a_clip_alone_or_padded_with_rubbish_or_as_a_tensor_is_the_same(few):
    joints, lengths, _ = few
    rubbish = joints.copy()
    for row, length in zip(rubbish, lengths, strict=True):
        row[length:] = np.nan
    together = label(rubbish, lengths)
    assert together == [label(row[:n])[0] for row, n in zip(joints, lengths, strict=True)]
    assert together == label(torch.from_numpy(rubbish).float(), torch.from_numpy(lengths))


def test_many_clips_are_looked_at_in_portions(few, monkeypatch):
    joints, lengths, _ = few
    whole = label(joints, lengths)
    monkeypatch.setattr(detectors, "_CHUNK", 3)
    assert label(joints, lengths) == whole
    assert detectors.detect("kick", joints, lengths).shape == (len(lengths),)


@pytest.mark.parametrize("frames", [1, 5, 60])
def test_a_still_pose_only_stands(frames):
    assert label(standing(frames)) == [{"stand"}]


def test_a_kick_needs_its_leg_and_its_threshold(few):
    joints, lengths, actions = few
    k = actions.index("kick")
    clip = joints[k, : lengths[k]]
    assert detectors.detect("kick", clip).all()
    assert not detectors.detector("kick", swing=120.0)(detectors.Body(clip)).any.any()
    legless = clip.copy()
    legless[:, [1, 2, 4, 5, 7, 8, 10, 11]] = legless[:1, [1, 2, 4, 5, 7, 8, 10, 11]]
    assert not detectors.detect("kick", legless).any()


def test_a_half_hearted_kick_is_found_and_none_in_what_else_lifts_a_leg(few):
    joints, lengths, actions = few
    k, s = actions.index("kick"), actions.index("stand")
    rest = joints[s, 5] - joints[s, 5, 0]
    clip = joints[k, : lengths[k]]
    weak = clip[:, :1] + 0.7 * (clip - clip[:, :1]) + 0.3 * rest
    assert detectors.detect("kick", weak).all()
    others = [actions.index(a) for a in ("walk", "run", "march", "hop", "jump", "sit", "squat", "crouch_walk")]
    assert not detectors.detect("kick", joints[others], lengths[others]).any()


def test_mistakes_are_said_in_one_line():
    with pytest.raises(ConfigError, match=r"'pirouette'.*kick"):
        detectors.detect("pirouette", standing())
    with pytest.raises(ConfigError, match="no threshold 'swnig'"):
        detectors.detector("kick", swnig=1.0)
    with pytest.raises(ConfigError, match="cannot tell 'left'"):
        detectors.detect("jump_left", standing())
    broken = standing()
    broken[3, 4, 1] = np.nan
    with pytest.raises(HmuError, match="NaN"):
        detectors.detect("kick", broken)
    with pytest.raises(HmuError, match="legs without length"):
        detectors.detect("kick", np.zeros((5, 22, 3)))


@pytest.mark.parametrize("name", detectors.names())
def test_every_rule_names_all_its_thresholds(name):
    kind = type(detectors.detector(name))
    words = str(kind.__doc__)
    if name == "walk_backwards":  # says: as walk
        words += str(type(detectors.detector("walk")).__doc__)
    missing = [f.name for f in fields(kind) if f"``{f.name}``" not in words]
    assert not missing, f"{name}'s docstring does not say what {missing} do"


def test_the_page_shows_the_rules_as_coded():
    page = (REPOSITORY / "docs" / "detectors.md").read_text(encoding="utf-8")
    assert fill(page, "rules", rules()) == page, "run  python -m hmu.tools.detectors_report"
    assert all(re.search(rf"^### {name}$", page, flags=re.MULTILINE) for name in detectors.names())


def test_confusion_counts():
    found = {"a": np.array([True, False, True]), "b": np.array([False, False, True])}
    lines = confusion(["x", "x", "y"], found, ["x", "y", "z"]).splitlines()
    assert lines[2:] == ["| x | 2 | 50 |  |", "| y | 1 | 100 | 100 |"]


def test_real_clips(shared):
    with np.load(shared("data/bandai/bandai_humanml3d/joints.npz")) as archive:
        motions = {name: archive[name] for name in archive.files}
    found = dict(zip(motions, label(*padded(list(motions.values()))), strict=True))

    def rate(concept: str, part: str) -> float:
        return float(np.mean([concept in concepts for name, concepts in found.items() if part in name]))

    assert rate("kick", "_kick_") == 1.0
    assert all(rate("kick", part) == 0.0 for part in ("_walk", "_run_", "_dash_", "_bow_", "_raise-", "_wave-"))
    assert rate("run", "_dash_") == 1.0
    assert rate("run", "_run_") >= 0.9
    assert rate("turn", "_walk-turn-") == 1.0
    assert rate("wave", "_wave-") >= 0.85
    assert rate("wave", "_raise-") == 0.0
    assert rate("bow", "_bow_") == 1.0
    assert rate("walk_backwards", "_walk-back_") == 1.0
