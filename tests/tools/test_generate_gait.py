"""Generating gait: forms of output, speeds, completion of recordings, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from hmu.config import CONFIGS
from hmu.errors import CheckpointError, ConfigError
from hmu.gait import columns
from hmu.gait.mot import read_table
from hmu.gait.standard import standard
from hmu.gait.trial import read_trial, write_trial
from hmu.tools import generate, generate_gait
from tests.backbones.gaitdynamics.conftest import toy
from tests.gait.conftest import demo_trial


def model():
    """A toy with the ranges of real gait, so that its windows can be drawn."""
    made = toy()
    states = torch.from_numpy(standard(demo_trial("walk", 0.5, 3.0, 0))[0].states).float()
    made.normaliser.fit([states])
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return model().save_pretrained(tmp_path_factory.mktemp("model") / "m")


def config(tmp_path, folder, gait=None, **changes):
    plain = OmegaConf.load(CONFIGS / "generate.yaml")
    for key in ("defaults", "hydra"):
        plain.pop(key)
    plain.backbone = {"_target_": "hmu.backbones.gaitdynamics.build", "checkpoint": str(folder)}
    mine = {"out": str(tmp_path / "out"), "animation": "none", "device": "cpu", "steps": 3, "gait": gait or {}}
    return OmegaConf.merge(plain, {**mine, **changes})


def test_windows_are_written_in_every_form(tmp_path, folder):
    records = generate.run(
        config(tmp_path, folder, {"windows": 2, "height": 1.8, "mass": 80.0}, animation="gif", length=30)
    )
    out = tmp_path / "out"
    assert json.loads((out / "records.json").read_text())[1]["name"] == "free-001"
    assert len(records) == 2
    for record in records:
        assert {"trial", "kinematics", "forces", "table", "animation"} <= set(record["files"])
        assert all((out / file).is_file() for file in record["files"].values())
        assert record["length"] == 30
        assert record["style"] in ("walk", "crouch", "stiff_knee", "run")
    trial = read_trial(out / records[0]["files"]["trial"], root="velocity")
    assert (trial.height, trial.mass) == (1.8, 80.0)
    table = read_table(out / records[0]["files"]["kinematics"])
    assert table.values.shape == (30, len(columns.COORDINATES))
    with (out / records[0]["files"]["table"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    vertical = trial.states[:, columns.states(["calcn_r_force_vy"])[0]] * 80
    assert float(rows[7]["right_force_y"]) == pytest.approx(vertical[7], rel=1e-3, abs=1e-2)


def test_a_sweep_asks_every_speed_with_equal_noise(tmp_path, folder):
    records = generate.run(config(tmp_path, folder, {"windows": 2, "speed": [0.8, 1.6]}, length=25))
    assert [r["speed_asked"] for r in records] == [0.8, 0.8, 1.6, 1.6]
    assert {r["length"] for r in records} == {25}
    slow, fast = (np.mean([r["statistics"]["speed"] for r in records if r["speed_asked"] == v]) for v in (0.8, 1.6))
    assert slow < fast
    again = generate.run(config(tmp_path, folder, {"windows": 2, "speed": 1.6}, length=25, out=str(tmp_path / "b")))
    assert [r["statistics"]["speed"] for r in again] == [r["statistics"]["speed"] for r in records[2:]]


@pytest.mark.parametrize("known", ["kinematics", "forces"])
def test_a_recording_is_completed_and_what_it_gives_is_kept(tmp_path, folder, known):
    path = write_trial(tmp_path / "S1" / "walk" / "t.npz", demo_trial("walk", 0.5, 1.0, 2))
    records = generate.run(config(tmp_path, folder, {"trial": str(path), "known": known}))
    done = read_trial(tmp_path / "out" / records[0]["files"]["trial"], root="velocity")
    true, _ = standard(read_trial(path))
    given = columns.KINEMATIC_COLUMNS if known == "kinematics" else columns.KINETIC_COLUMNS
    rest = [i for i in range(columns.FEATURES) if i not in given]
    np.testing.assert_allclose(done.states[:, given], true.states[:, given].astype(np.float32))
    assert not np.allclose(done.states[:, rest], true.states[:, rest])
    assert "error" in records[0]["quality"]


def test_the_quality_of_a_perfect_answer_is_perfect():
    trial, _ = standard(demo_trial("walk", 0.5, 2.0, 1))
    found = generate_gait.quality(trial, trial.states, "kinematics")
    assert found["vertical force error (body weights)"] == 0
    assert found["vertical force correlation"] == pytest.approx(1)
    assert set(generate_gait.quality(trial, trial.states, "forces").values()) == {0.0}


def test_edits_act_while_windows_are_made_and_only_then(tmp_path, folder):
    from hmu.backbones.gaitdynamics import GaitDynamics
    from hmu.methods.edit import DeltaEdit, fingerprint

    base = GaitDynamics.load_pretrained(folder)
    delta = {"final_layer.bias": torch.full((63,), 2.0)}
    edit = DeltaEdit(delta, method="test", base=fingerprint(base)).save(tmp_path / "edit")
    one = {"windows": 1}
    plain = generate.run(config(tmp_path, folder, one, length=30))
    off = generate.run(config(tmp_path, folder, one, length=30, edits=[f"{edit}:0"], out=str(tmp_path / "off")))
    on = generate.run(config(tmp_path, folder, one, length=30, edits=[f"{edit}:-1"], out=str(tmp_path / "on")))
    assert off[0]["statistics"] == plain[0]["statistics"] != on[0]["statistics"]
    assert on[0]["edits"][0]["scale"] == -1
    wrong = DeltaEdit({"nowhere.weight": torch.ones(1)}, method="test").save(tmp_path / "wrong")
    with pytest.raises(CheckpointError):
        generate.run(config(tmp_path, folder, {"windows": 1}, edits=[f"{wrong}:1"], out=str(tmp_path / "w")))


@pytest.mark.parametrize(
    ("gait", "changes", "words"),
    [
        ({}, {"prompt": "a person walks"}, "reads no text"),
        ({"speed": 1.0, "trial": "x.npz"}, {}, "give one of the two"),
        ({}, {"length": 500}, "500 frames"),
        ({}, {"animation": "mp4"}, "animation=mp4"),
        ({}, {"steps": 2000}, "steps=2000: gaitdynamics has 1000 noise levels"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(tmp_path, folder, gait, changes, words):
    with pytest.raises(ConfigError) as caught:
        generate.run(config(tmp_path, folder, gait, **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_earlier_folder_is_replaced_only_when_asked(tmp_path, folder):
    generate.run(config(tmp_path, folder, {"windows": 2}))
    with pytest.raises(ConfigError, match="not empty"):
        generate.run(config(tmp_path, folder, {"windows": 1}))
    generate.run(config(tmp_path, folder, {"windows": 1}, overwrite=True))
    assert [p.name for p in (tmp_path / "out" / "trials").iterdir()] == ["free-000.npz"]
