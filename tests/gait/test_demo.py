from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hmu.errors import ConfigError, DataError
from hmu.gait import columns
from hmu.gait.demo import generate
from hmu.gait.demo.curves import STYLES, vertical_shape
from hmu.gait.preprocess import toe_velocities
from hmu.gait.rules import styles
from hmu.gait.standard import standard
from hmu.gait.statistics import statistics
from hmu.gait.trial import write_trial
from tests.datasets import settings, trials
from tests.gait.conftest import demo_trial


def digest(folder):
    files = sorted(path for path in folder.rglob("*.npz"))
    return [(path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_equal_seeds_give_equal_bytes(tmp_path):
    options = {"subjects": 1, "trials": 1, "seconds": 2.0}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        generate(tmp_path / name, seed=seed, **options)
    one, two, three = (digest(tmp_path / name) for name in "abc")
    assert one == two
    assert [name for name, _ in one] == [f"S01/{s}/trial_01.npz" for s in ("crouch", "run", "stiff_knee", "walk")]
    assert all(a != b for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_a_style_is_plausible_and_its_rule_sees_it(style):
    for seed, share in ((0, 0.05), (1, 0.5), (2, 0.95)):
        trial = demo_trial(style, share, 4.0, seed)
        ready, said = standard(trial)
        assert "belt" not in " ".join(said)  # loaded feet hardly slide
        windows = torch.from_numpy(np.stack([ready.states[a : a + 150] for a in (20, 120, 230)]))
        seen = styles(windows)
        assert {name for name, flags in seen.items() if bool(flags.any())} == {style}
        numbers = statistics(windows, trial.height)
        chosen = next(s for s in STYLES if s.name == style)
        wanted = chosen.speeds[0] + share * (chosen.speeds[1] - chosen.speeds[0])
        assert torch.allclose(numbers["speed"].mean(), torch.tensor(wanted, dtype=torch.float64), rtol=0.05)
        cycles = ready.states[:, columns.states(["calcn_r_force_vy", "calcn_l_force_vy"])].sum(1)
        assert cycles.mean() / 9.81 == pytest.approx(1.0, abs=0.08)
        vertical = ready.states[:, [10, 16]]
        poses_feet = toe_velocities(np.zeros((len(ready), 6)), vertical, 100.0)
        assert np.isnan(poses_feet).any()
        assert np.isfinite(poses_feet).any()


def test_a_walking_stance_has_two_humps():
    progress = np.linspace(0, 1, 201)
    force = vertical_shape(progress, STYLES[0].valley)
    peaks = [i for i in range(1, 200) if force[i] > force[i - 1] and force[i] >= force[i + 1]]
    assert len(peaks) == 2
    assert force[100] < force[peaks].min()
    assert force.mean() == pytest.approx(1.0, abs=0.02)
    assert vertical_shape(np.array([-0.1, 1.1]), 0.3).tolist() == [0.0, 0.0]


def test_statistics_of_a_known_window():
    states = torch.zeros(1, 200, 63)
    states[..., 0] = 0.6
    for foot, offset in ((10, 0), (16, 50)):  # each foot is loaded for 60 of 100 frames
        frames = (torch.arange(200) + offset) % 100
        states[0, :, foot] = torch.where(frames < 60, 9.81, 0.0)
    numbers = {name: float(value) for name, value in statistics(states, 2.0).items()}
    assert numbers["speed"] == pytest.approx(1.2)
    assert numbers["cadence"] == pytest.approx(120.0)
    assert numbers["step_length"] == pytest.approx(0.6)
    assert numbers["load"] == pytest.approx(1.2)
    assert numbers["flight"] == 0
    assert numbers["peak_force"] == pytest.approx(1.0)


# -- data sets -----------------------------------------------------------------------------------------------------
@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "trials"
    for number in range(4):
        for style in ("walk", "crouch"):
            trial = demo_trial(style, 0.5, 2.5, number)
            write_trial(folder / f"S{number}" / "session" / style / "t.npz", trial)
    return folder


def source(tree, tmp_path, **options):
    return trials("mine", tree, cache_dir=tmp_path / "cache", stride=50, **options)


def test_windows_are_entries_labels_are_captions_and_people_are_divided(tmp_path, tree):
    data = source(tree, tmp_path).prepare()
    people = {split: {data.people[name]["subject"] for name in data.split_ids(split)} for split in data.splits}
    assert sorted(map(len, people.values())) == [1, 1, 2]
    assert set.union(*people.values()) == {"S0", "S1", "S2", "S3"}
    clips = data.clips("train")
    assert len(clips) == 2 * 2 * 3  # 250 frames: windows at 0, 50, 100
    assert set(clips.lengths.tolist()) == {150}
    assert clips.ids[1].endswith("__0#50")
    assert clips.texts == data.labels(clips)
    assert data.labels(clips).count("crouch") == 6
    batch = clips.batch([1])
    stored = np.load(data.motion_file(clips.clip_ids[1]))
    assert np.array_equal(batch.motion[0].numpy(), stored[50:200])
    assert data.heights(clips).shape == (12,)
    assert (data.root / "dropped.csv").read_text().startswith("trial,start,stop,frames,reason")


def test_a_concept_is_a_label(tmp_path, tree):
    from hmu.data.concepts import Concept
    from hmu.data.divide import partition_by_concept

    data = source(tree, tmp_path)
    sides = partition_by_concept(data, "train", Concept("crouch_gait", ["crouch"]))
    assert {data.people[name]["label"] for name in sides.forget} == {"crouch"}
    assert {data.people[name]["label"] for name in sides.retain} == {"walk"}


def test_a_changed_trial_is_converted_anew_and_few_people_are_said(tmp_path, tree, caplog):
    first = source(tree, tmp_path)
    extra = tree / "S9" / "walk" / "new.npz"
    write_trial(extra, demo_trial("walk", 0.4, 2.5, 9))
    assert source(tree, tmp_path).root != first.root
    lonely = tmp_path / "lonely"
    write_trial(lonely / "only.npz", demo_trial("walk", 0.4, 2.5, 9))
    with caplog.at_level("WARNING"):
        data = source(lonely, tmp_path).prepare()
    assert "cannot be divided" in caplog.text
    assert len(data.clips("train")) == 3
    with pytest.raises(DataError, match="'test' has no entry"):
        data.clips("test")


def test_mistakes_in_the_configuration_are_said(tmp_path):
    for options, words in (
        ({"trials": None}, "dataset.trials is empty"),
        ({"trials": tmp_path, "window": 3}, "window=3"),
        ({"trials": tmp_path, "shares": [1, 2]}, "shares"),
        ({"trials": tmp_path, "root": "miles"}, "root=miles"),
    ):
        with pytest.raises(ConfigError, match=words):
            trials("x", cache_dir=tmp_path, **options)
    with pytest.raises(DataError, match="no such folder"):
        trials("x", tmp_path / "absent", cache_dir=tmp_path).prepare()


def test_the_demo_configuration_makes_its_own_trials(tmp_path):
    node = OmegaConf.create(
        {
            "_target_": "hmu.gait.source.GaitSource",
            **settings("gait_demo"),
            "cache_dir": str(tmp_path),
            "generator": {
                "_target_": "hmu.gait.demo.generate",
                "_partial_": True,
                "subjects": 3,
                "trials": 1,
                "seconds": 2,
            },
        }
    )
    data = instantiate(node)
    data.prepare()
    assert set(data.labels(data.clips("train"))) == {style.name for style in STYLES}
    assert instantiate(node).root == data.root
    node.generator.seed = 1
    assert instantiate(node).root != data.root
