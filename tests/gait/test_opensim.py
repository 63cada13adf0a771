from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.export import export_coordinates, export_forces, forces_of, poses_from
from hmu.gait.mot import read_table, write_table
from hmu.gait.opensim import ImportChoices, beside_plates, import_trial
from hmu.gait.preprocess import heels_and_toes
from hmu.gait.skeleton import Skeleton
from hmu.gait.standard import standard
from hmu.gait.trial import read_trial, write_trial
from hmu.gait.windows import clean_runs

KNEES = columns.osim(["knee_angle_r", "knee_angle_l"])
ANGLES = columns.osim([name for name in columns.COORDINATES if name not in columns.ROOT])


@pytest.fixture
def laboratory(tmp_path, walking):
    """The walking trial as a laboratory stores it: degrees, negative flexion, forces at 1000 Hz, left plate first."""
    poses = poses_from(walking)
    poses[:, KNEES] *= -1
    poses[:, ANGLES] = np.rad2deg(poses[:, ANGLES])
    time = 0.5 + np.arange(len(poses)) / 100
    names = [*columns.COORDINATES, "arm_flex_r"]
    ik = write_table(tmp_path / "ik.mot", names, time, np.c_[poses, np.ones(len(poses))], degrees=True)
    forces, cops = forces_of(walking)
    fine = 0.5 + np.arange(len(poses) * 10 - 9) / 1000

    def plate(foot):
        both = np.concatenate([forces[:, 3 * foot : 3 * foot + 3], cops[:, 3 * foot : 3 * foot + 3]], 1)
        return np.stack([np.interp(fine, time, column) for column in both.T], 1)

    stems = [f"{stem}ground_force_{kind}{axis}" for stem in ("", "1_") for kind in "vp" for axis in "xyz"]
    # the left foot's plate comes first, and nothing says so
    grf = write_table(tmp_path / "grf.mot", stems, fine, np.c_[plate(1), plate(0)], degrees=True)
    return ik, grf


def test_import_finds_feet_sign_and_degrees_and_exports_what_was_there(tmp_path, walking, laboratory, caplog):
    with caplog.at_level("INFO"):
        trial = import_trial(*laboratory, walking.mass, walking.height, name="t", label="walk")
    assert "knee flexion is negative" in caplog.text
    assert "arm_flex_r" in caplog.text
    assert not trial.missing.any()
    vertical = columns.states(["calcn_r_force_vy", "calcn_l_force_vy"])
    assert np.abs(trial.states[:, vertical] - walking.states[:, vertical]).max() < 1e-3
    stored = read_trial(write_trial(tmp_path / "t.npz", trial))
    ours = read_table(export_coordinates(tmp_path / "out_ik.mot", stored))
    theirs = read_table(laboratory[0])
    assert ours.degrees
    assert np.abs(ours.time - theirs.time).max() < 1e-5
    assert max(np.abs(ours[name] - theirs[name]).max() for name in columns.COORDINATES) < 1e-3
    force, given = read_table(export_forces(tmp_path / "out_grf.mot", stored)), read_table(laboratory[1])
    for stem, side in (("", "l"), ("1_", "r")):
        for axis in "xyz":
            expected = given[f"{stem}ground_force_v{axis}"][::10]
            assert np.abs(force[f"ground_force_{side}_v{axis}"] - expected).max() < 1e-3
        loaded = given[f"{stem}ground_force_vy"][::10] > 25
        gap = force[f"ground_force_{side}_px"] - given[f"{stem}ground_force_px"][::10]
        assert np.abs(gap[loaded]).max() < 1e-3
    ready, _ = standard(stored)
    assert len(clean_runs(ready)[0]) == 1


def test_the_heading_of_a_laboratory_does_not_matter(tmp_path, walking, laboratory):
    ik, grf = (read_table(path) for path in laboratory)
    angle = np.deg2rad(75)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])

    def turned(table, stems):
        values = table.values.copy()
        for stem in stems:
            where = [table.names.index(f"{stem}{axis}") for axis in "xyz"]
            values[:, where] = values[:, where] @ turn.T
        return values

    moved = turned(ik, ["pelvis_t"])
    moved[:, ik.names.index("pelvis_rotation")] = ik["pelvis_rotation"] + 75
    # a turn about the vertical adds to the innermost angle only where the pelvis is upright
    for name in ("pelvis_tilt", "pelvis_list"):
        ik.values[:, ik.names.index(name)] = moved[:, ik.names.index(name)] = 0
    stems = [f"{stem}ground_force_{kind}" for stem in ("", "1_") for kind in "vp"]
    a = write_table(tmp_path / "a.mot", ik.names, ik.time, moved, degrees=True)
    b = write_table(tmp_path / "b.mot", grf.names, grf.time, turned(grf, stems), degrees=True)
    upright = write_table(tmp_path / "c.mot", ik.names, ik.time, ik.values, degrees=True)
    away = import_trial(a, b, walking.mass, walking.height)
    near = import_trial(upright, laboratory[1], walking.mass, walking.height)
    assert abs(float(away.notes["turn"]) - float(near.notes["turn"])) == pytest.approx(angle, abs=1e-3)
    assert np.abs(away.states - near.states).max() < 1e-2


def test_the_user_may_say_what_the_files_do_not(walking, laboratory):
    swapped = ImportChoices(feet=["right", "left"])
    with pytest.raises(DataError, match="from its foot"):
        import_trial(*laboratory, walking.mass, walking.height, choices=swapped)
    said = import_trial(*laboratory, walking.mass, walking.height, choices=ImportChoices(feet=["left", "right"]))
    assert np.array_equal(said.states, import_trial(*laboratory, walking.mass, walking.height).states)
    for choices, words in (
        (ImportChoices(feet=["left"]), "each of the plates"),
        (ImportChoices(feet="both"), "each of the plates"),
        (ImportChoices(knee="up"), "expected auto, positive or negative"),
    ):
        with pytest.raises(DataError, match=words):
            import_trial(*laboratory, walking.mass, walking.height, choices=choices)


def test_a_foot_that_stands_beside_the_plates_is_marked(walking):
    poses = poses_from(walking)
    heels, toes = heels_and_toes(poses, Skeleton.generic(walking.height))
    forces, _ = forces_of(walking)
    assert not beside_plates(forces, heels, toes, 100.0).any()
    silent = forces.copy()
    silent[100:, 3:] = 0
    marked = beside_plates(silent, heels, toes, 100.0)
    assert marked[120:].mean() > 0.3
    assert not marked[:90].any()


FAULTS = {
    "no endheader": ("time\ta\n0\t1\n1\t2\n", "endheader"),
    "no time": ("endheader\na\tb\n0\t1\n1\t2\n", "'time' first"),
    "ragged": ("endheader\ntime\ta\n0\t1\n1\n", "line 4"),
    "no number": ("endheader\ntime\ta\n0\t1\n1\tx\n", "no number"),
    "nan": ("endheader\ntime\ta\n0\t1\n1\tnan\n", "column 'a' is not finite"),
    "backwards": ("endheader\ntime\ta\n1\t1\n0\t2\n", "does not grow"),
    "uneven": ("endheader\ntime\ta\n0\t1\n1\t2\n5\t2\n", "not evenly spaced"),
    "one row": ("endheader\ntime\ta\n0\t1\n", "at least 2"),
    "twice": ("endheader\ntime\ta\ta\n0\t1\t1\n1\t1\t1\n", "there twice"),
    "degrees": ("inDegrees=maybe\nendheader\ntime\ta\n0\t1\n1\t2\n", "inDegrees=maybe"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_table_gives_one_clear_line(tmp_path, fault):
    text, words = FAULTS[fault]
    path = tmp_path / "t.mot"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_both_dialects_and_rounded_times_are_read(tmp_path):
    rows = "".join(f"{i / 60:.3f}\t{i} \t\n" for i in range(31))
    (tmp_path / "a.mot").write_text(
        "name x\t\ndatacolumns 2\t\ndatarows 99\t\nrange 0 15\t\nendheader\t\n   time \ty \n" + rows
    )
    table = read_table(tmp_path / "a.mot")
    assert table.fps == pytest.approx(60.0)
    assert np.abs(np.diff(table.time) - 1 / 60).max() < 1e-12
    assert table.degrees is None


def test_missing_coordinates_plates_and_overlap_are_said(tmp_path, walking, laboratory):
    ik, grf = (read_table(path) for path in laboratory)
    short = write_table(tmp_path / "s.mot", ik.names[1:], ik.time, ik.values[:, 1:], degrees=True)
    bare = write_table(tmp_path / "b.mot", grf.names[:5], grf.time, grf.values[:, :5], degrees=True)
    late = write_table(tmp_path / "l.mot", grf.names, grf.time + 100, grf.values, degrees=True)
    for pair, words in (
        ((short, laboratory[1]), "'pelvis_tilt' is missing"),
        ((laboratory[0], bare), "no centre of pressure beside"),
        ((laboratory[0], short), "no force plate"),
        ((laboratory[0], late), "share less than"),
    ):
        with pytest.raises(DataError, match=words):
            import_trial(*pair, walking.mass, walking.height)


@pytest.mark.parametrize(
    ("stem", "mass", "height", "speed"),
    [("subject01_walk1", 72.6, 1.8034, (0.8, 1.5)), ("subject02_running", 65.9, 1.83, (2.5, 4.5))],
)
def test_real_trials_round_trip(shared, tmp_path, stem, mass, height, speed):
    ik, grf = (shared(f"data/opensim/{stem}_{kind}.mot") for kind in ("ik", "grf"))
    stored = read_trial(write_trial(tmp_path / "t.npz", import_trial(ik, grf, mass, height)))
    ours, theirs = read_table(export_coordinates(tmp_path / "k.mot", stored)), read_table(ik)
    rows = np.rint((ours.time - theirs.time[0]) * theirs.fps).astype(int)
    assert np.abs(ours.time - theirs.time[rows]).max() < 1e-5
    assert max(np.abs(ours[name] - theirs[name][rows]).max() for name in columns.COORDINATES) < 1e-3
    given, force = read_table(grf), read_table(export_forces(tmp_path / "f.mot", stored))
    times = float(stored.notes["time"]) + np.arange(len(stored)) / stored.fps
    for stem_, side in (("", "r"), ("1_", "l")):
        for axis in "xyz":
            expected = np.interp(times, given.time, given[f"{stem_}ground_force_v{axis}"])
            assert np.abs(force[f"ground_force_{side}_v{axis}"] - expected).max() < 1e-3
    ready, _ = standard(stored)
    assert speed[0] < ready.states[:, 0].mean() * height < speed[1]
    assert ready.states[:, columns.states(["calcn_r_force_vy", "calcn_l_force_vy"])].sum(1).mean() == pytest.approx(
        9.81, rel=0.05
    )
    assert len(clean_runs(ready)[0]) == 1
