"""What laboratories and simulators write besides the plain case: forces that carry nobody, gaps, units, spellings."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.export import export_coordinates, export_forces
from hmu.gait.mot import read_table, write_table
from hmu.gait.opensim import ImportChoices, import_trial
from hmu.gait.statistics import GRAVITY
from hmu.gait.trial import read_trial, write_trial

POUND = 0.45359237


@pytest.fixture(scope="module")
def pair(tmp_path_factory, walking):
    """Kinematics and forces of a walking trial, as tables."""
    folder = tmp_path_factory.mktemp("lab")
    ik = read_table(export_coordinates(folder / "ik.mot", walking))
    return ik, read_table(export_forces(folder / "grf.mot", walking))


def rewritten(tmp_path, table, change=None, rename=None, degrees=False, name="t.mot"):
    """The table with changed values ``change(names, values)`` and column names ``rename(name)``."""
    values = table.values.copy()
    if change is not None:
        values = change(list(table.names), values)
    names = [rename(name) for name in table.names] if rename else table.names
    return write_table(tmp_path / name, names, table.time, values, degrees=degrees)


def forces_in(factor):
    def change(names, values):
        values[:, [i for i, name in enumerate(names) if "_v" in name]] *= factor
        return values

    return change


def swapped(first, second):
    def rename(name):
        return re.sub(f"([vp])([{first}{second}])$", lambda m: m[1] + (second if m[2] == first else first), name)

    return rename


def load(pair, tmp_path, walking, mass=None, **changes):
    path = rewritten(tmp_path, pair[1], **changes)
    return import_trial(pair[0].path, path, mass or walking.mass, walking.height)


def test_the_right_forces_pass(pair, tmp_path, walking):
    assert not load(pair, tmp_path, walking).missing.any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"change": forces_in(-1)}, "is the sign turned"),
        ({"rename": swapped("y", "z")}, "is z up"),
        ({"rename": swapped("x", "y")}, "is x up"),
        ({"change": forces_in(0)}, "all forces are zero; .* forces=null"),
        ({"change": forces_in(1 / GRAVITY)}, "are these kilograms"),
        ({"change": forces_in(1 / 4.4482216)}, "pounds|4.448"),
        ({"change": forces_in(1e4)}, "are unit, sign, axis and mass right"),
    ],
)
def test_forces_that_carry_nobody_are_refused_with_the_likely_reason(pair, tmp_path, walking, changes, words):
    with pytest.raises(DataError, match=words) as error:
        load(pair, tmp_path, walking, **changes)
    assert str(tmp_path / "t.mot") in str(error.value)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_body_weights_mass_shares_and_pounds_are_told(pair, tmp_path, walking):
    with pytest.raises(DataError, match=f"body weights. Multiply by {walking.mass * GRAVITY:.0f}"):
        load(pair, tmp_path, walking, change=forces_in(1 / walking.mass / GRAVITY))
    with pytest.raises(DataError, match="divided by mass"):
        load(pair, tmp_path, walking, change=forces_in(1 / walking.mass))
    pounds = walking.mass / POUND
    with pytest.raises(DataError, match=rf"in pounds. That is {walking.mass:.1f} kg"):
        load(pair, tmp_path, walking, mass=pounds)


def test_the_check_can_be_turned_off_and_still_speaks(pair, tmp_path, walking, caplog):
    path = rewritten(tmp_path, pair[1], change=forces_in(0.3))
    choices = ImportChoices(forces_check=False)
    import_trial(pair[0].path, path, walking.mass, walking.height, choices=choices)
    assert [record.message for record in caplog.records if "weigh" in record.message]


def test_no_forces_mark_every_frame_and_keep_the_kinematics(tmp_path, pair, walking):
    trial = read_trial(write_trial(tmp_path / "t.npz", import_trial(pair[0].path, None, walking.mass, walking.height)))
    assert trial.missing.all()
    assert not trial.states[:, columns.KINETIC_COLUMNS].any()
    ours = read_table(export_coordinates(tmp_path / "back.mot", trial))
    assert np.abs(ours.values - pair[0].values).max() < 1e-3


def gap(loaded):
    """NaN as the centre of pressure where a plate carries nothing, or in one row where it carries a person."""

    def change(names, values):
        for stem in ("ground_force_r_", "ground_force_l_"):
            force = values[:, names.index(f"{stem}vy")]
            rows = np.flatnonzero(force > 300)[:1] if loaded else force < 20
            for axis in "xyz":
                values[rows, names.index(f"{stem}p{axis}")] = np.nan
        return values

    return change


def test_no_centre_of_pressure_without_force_is_none(pair, tmp_path, walking):
    gapped, plain = load(pair, tmp_path, walking, change=gap(False)), load(pair, tmp_path, walking)
    assert np.array_equal(gapped.states, plain.states)


def test_nan_elsewhere_is_refused_with_its_line(pair, tmp_path, walking):
    with pytest.raises(DataError, match=r"line \d+: plate 'ground_force_r' carries \d+ N, but its centre of pressure"):
        load(pair, tmp_path, walking, change=gap(True))

    def missing_force(names, values):
        values[3, names.index("ground_force_l_vz")] = np.nan
        return values

    with pytest.raises(DataError, match=r"line 14: column 'ground_force_l_vz'"):
        load(pair, tmp_path, walking, change=missing_force)

    def missing_angle(names, values):
        values[5, names.index("hip_flexion_r")] = np.nan
        return values

    path = rewritten(tmp_path, pair[0], change=missing_angle)
    with pytest.raises(DataError, match=r"line 16: column 'hip_flexion_r'"):
        import_trial(path, pair[1].path, walking.mass, walking.height)


@pytest.mark.parametrize(("factor", "unit"), [(1000, "millimetres"), (100, "centimetres")])
def test_centres_of_pressure_in_another_unit_are_converted_and_said(pair, tmp_path, walking, caplog, factor, unit):
    def change(names, values):
        values[:, [i for i, name in enumerate(names) if "_p" in name]] *= factor
        return values

    with caplog.at_level("WARNING"):
        trial = load(pair, tmp_path, walking, change=change)
    assert unit in caplog.text
    assert np.abs(trial.states - load(pair, tmp_path, walking).states).max() < 1e-4


def test_a_pelvis_in_millimetres_is_converted(pair, tmp_path, walking, caplog):
    def change(names, values):
        values[:, [names.index(name) for name in columns.ROOT]] *= 1000
        return values

    path = rewritten(tmp_path, pair[0], change=change)
    trial = import_trial(path, pair[1].path, walking.mass, walking.height)
    assert "millimetres" in caplog.text
    plain = import_trial(pair[0].path, pair[1].path, walking.mass, walking.height)
    assert np.abs(trial.states - plain.states).max() < 1e-4


SPELLINGS = {
    "numbers": {"r": "1_ground_force_{}", "l": "2_ground_force_{}"},
    "numbers inside": {"r": "ground_force_1_{}", "l": "ground_force_2_{}"},
    "first unnamed": {"r": "ground_force_{}", "l": "1_ground_force_{}"},
    "letters in front": {"r": "R_ground_force_{}", "l": "L_ground_force_{}"},
    "sides behind": {"r": "ground_force_{}_r", "l": "ground_force_{}_l"},
    "bodies": {"r": "force_calcn_r_{}", "l": "force_calcn_l_{}"},
    "plates": {"r": "FP1_{}", "l": "FP2_{}"},
}


@pytest.mark.parametrize("spelling", [*SPELLINGS, "c3d"])
def test_spellings_of_force_columns(pair, tmp_path, walking, spelling):
    def rename(name):
        side, kind, axis = re.fullmatch(r"ground_force_([rl])_([vp])([xyz])", name).groups()
        if spelling == "c3d":
            return f"{'f' if kind == 'v' else 'p'}{'rl'.index(side) + 1}_{'xyz'.index(axis) + 1}"
        return SPELLINGS[spelling][side].format(kind + axis)

    found = load(pair, tmp_path, walking, rename=rename)
    assert np.array_equal(found.states, load(pair, tmp_path, walking).states)


def test_states_of_moco_are_read_in_radians(pair, tmp_path, walking):
    names = [f"/jointset/joint/{name}/value" for name in pair[0].names]
    extra = ["/jointset/hip_r/hip_flexion_r/speed", "/forceset/soleus_r/activation"]
    values = np.c_[pair[0].values, np.full((len(pair[0].time), 2), np.nan)]  # what is not used may be anything
    path = write_table(tmp_path / "states.sto", [*names, *extra], pair[0].time, values, degrees=False)
    path.write_text(path.read_text().replace("inDegrees=no\n", ""))
    moco = import_trial(path, pair[1].path, walking.mass, walking.height)
    plain = import_trial(pair[0].path, pair[1].path, walking.mass, walking.height)
    assert np.array_equal(moco.states, plain.states)


def test_angles_of_the_other_unit_are_refused_and_the_user_may_say_which(pair, tmp_path, walking):
    turning = [name not in columns.ROOT for name in pair[0].names]

    def change(names, values):
        values[:, turning] = np.rad2deg(values[:, turning])
        return values

    wrong = rewritten(tmp_path, pair[0], change=change)  # degrees under "inDegrees=no"
    with pytest.raises(DataError, match=r"said to be radians, .* say degrees=true"):
        import_trial(wrong, pair[1].path, walking.mass, walking.height)
    said = ImportChoices(degrees=True)
    right = import_trial(wrong, pair[1].path, walking.mass, walking.height, choices=said)
    assert (
        np.abs(right.states - import_trial(*(t.path for t in pair), walking.mass, walking.height).states).max() < 1e-4
    )
    other = rewritten(tmp_path, pair[0], degrees=True)  # radians under "inDegrees=yes"
    with pytest.raises(DataError, match=r"hardly bend.* degrees=false"):
        import_trial(other, pair[1].path, walking.mass, walking.height)


def test_a_repeated_last_row_is_dropped_with_a_note(pair, tmp_path, walking, caplog):
    for number, table in enumerate(pair):
        lines = table.path.read_text().splitlines()
        (tmp_path / f"{number}.mot").write_text("\n".join([*lines, lines[-1]]))
    with caplog.at_level("INFO"):
        trial = import_trial(tmp_path / "0.mot", tmp_path / "1.mot", walking.mass, walking.height)
    assert len(trial) == len(walking)
    assert caplog.text.count("repeat the time of the row before") == 2


def test_times_that_cannot_be_seconds_or_do_not_meet_are_refused(pair, tmp_path, walking):
    ik, grf = pair
    slow = write_table(tmp_path / "slow.mot", ik.names, ik.time * 1000, ik.values, degrees=False)
    with pytest.raises(DataError, match="is its time in seconds"):
        import_trial(slow, grf.path, walking.mass, walking.height)
    turned = write_table(tmp_path / "turned.mot", ik.names, ik.time[::-1], ik.values, degrees=False)
    with pytest.raises(DataError, match="time does not grow"):
        import_trial(turned, grf.path, walking.mass, walking.height)


ODD_CELLS = {
    "-nan(ind)": "not finite",
    "1.#QNAN": "not finite",
    "0,5": "decimals with a point",
    "1" * 5000: "not finite|no number",
    "abc": "'abc' is no number",
}


@pytest.mark.parametrize("cell", ODD_CELLS, ids=lambda cell: cell[:8])
def test_odd_cells_are_said_by_line(tmp_path, cell):
    path = tmp_path / "t.mot"
    path.write_text(f"endheader\ntime\ta\n0\t1\n1\t{cell}\n")
    with pytest.raises(DataError, match=rf"line 4: .*({ODD_CELLS[cell]})") as error:
        read_table(path)
    assert len(str(error.value)) < 300 + len(str(path))


def test_an_empty_cell_between_tabs_is_a_gap(tmp_path):
    path = tmp_path / "t.mot"
    path.write_text("endheader\ntime\ta\tb\n0\t1\t2\n1\t\t3\n2\t1\t4\n")
    table = read_table(path, gaps=True)
    assert np.isnan(table["a"]).tolist() == [False, True, False]
    assert table["b"].tolist() == [2, 3, 4]
