from __future__ import annotations

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.gait.columns import STATES
from hmu.gait.npz import strings_from_pickle
from hmu.gait.trial import read_trial, root_unit, write_trial
from hmu.gait.windows import read_tree
from tests.gait.conftest import READING, raw


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def test_names_stored_as_objects_are_read_without_running_a_pickle(tmp_path, write_raw):
    assert read_trial(write_raw(tmp_path / "a.npz")).states.shape == (200, 63)
    assert strings_from_pickle(pickle.dumps(np.array(["x", "y"], dtype=object))) == ["x", "y"]
    numpy_strings = np.array([np.str_("pelvis_tx"), "b"], dtype=object)
    assert strings_from_pickle(pickle.dumps(numpy_strings)) == ["pelvis_tx", "b"]


@pytest.mark.parametrize("column", range(2))
def test_a_pickle_that_runs_something_is_refused_and_not_run(tmp_path, write_raw, column):
    flag = tmp_path / "ran"
    names = np.array(STATES, dtype=object)
    names[column] = Evil(flag)
    with pytest.raises(DataError, match="'model_states_columns' is no list of names"):
        read_trial(write_raw(tmp_path / "evil.npz", model_states_columns=names))
    assert not flag.exists()
    with pytest.raises(ValueError, match="not part of an array of strings"):
        strings_from_pickle(pickle.dumps(Evil(flag)))
    assert not flag.exists()


def test_numbers_and_nested_lists_are_no_names():
    for wrong in ([1, 2], [["a"]], [b"a"]):
        array = np.empty(len(wrong), dtype=object)
        array[:] = wrong
        with pytest.raises(ValueError, match="names"):
            strings_from_pickle(pickle.dumps(array))


def test_columns_in_any_order_and_kind_of_string(tmp_path, write_raw):
    plain = read_trial(write_raw(tmp_path / "plain.npz"))
    order = np.random.default_rng(1).permutation(63)
    states, names = raw()["model_states"][:, order], np.array(STATES)[order]
    for kind in (object, "U30", "S30"):
        shuffled = write_raw(tmp_path / "s.npz", model_states=states, model_states_columns=names.astype(kind))
        assert np.array_equal(read_trial(shuffled).states, plain.states)


NAN = raw()["model_states"].copy()
NAN[7, 3] = np.nan
BAD = {
    "missing key": ({"pos_vec": None}, "pos_vec", "missing"),
    "62 columns": ({"model_states": raw()["model_states"][:, :62]}, "model_states", "62"),
    "NaN": ({"model_states": NAN}, "model_states", "frame 7, column knee_angle_r"),
    "unknown column": (
        {"model_states_columns": np.array([*STATES[:-1], "toe_wiggle"])},
        "model_states_columns",
        "toe_wiggle",
    ),
    "column twice": ({"model_states_columns": np.array([*STATES[:-1], STATES[0]])}, "model_states_columns", "twice"),
    "zero frames": (
        {"model_states": np.zeros((0, 63)), "probably_missing": np.zeros(0, bool)},
        "model_states",
        r"\(0, 63\)",
    ),
    "negative mass": ({"weight_kg": np.float64(-70)}, "weight_kg", "-70"),
    "mass in pounds of a giant": ({"weight_kg": np.float64(900)}, "weight_kg", "10 to 250"),
    "height in centimetres": ({"height_m": np.float64(170)}, "height_m", "0.5 to 2.5 metres"),
    "shape of probably_missing": ({"probably_missing": np.zeros((200, 2), bool)}, "probably_missing", r"\(200, 2\)"),
    "10 Hz": ({"sampling_rate": np.int64(10)}, "sampling_rate", "40 to 2000 Hz"),
    "two heights": ({"height_m": np.array([1.7, 1.8])}, "height_m", "one finite number"),
    "text for numbers": ({"pos_vec": np.array(["a", "b", "c"])}, "pos_vec", "expected numbers"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_trial_gives_one_clear_line(tmp_path, write_raw, fault):
    changes, key, words = BAD[fault]
    path = write_raw(tmp_path / "S1" / "walk" / "bad.npz", **changes)
    with pytest.raises(DataError, match=words) as error:
        read_trial(path, tmp_path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert f"'{key}'" in message


def test_a_truncated_file_and_no_file_give_one_clear_line(tmp_path, write_raw):
    path = write_raw(tmp_path / "cut.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="truncated"):
        read_trial(path)
    with pytest.raises(DataError, match="no such file"):
        read_trial(tmp_path / "absent.npz")
    (tmp_path / "empty.npz").touch()
    with pytest.raises(DataError, match="truncated"):
        read_trial(tmp_path / "empty.npz")


def test_not_strict_skips_bad_trials_with_a_summary(tmp_path, write_raw, caplog):
    write_raw(tmp_path / "S1" / "walk" / "good.npz")
    for number, (changes, _, _) in enumerate(BAD.values()):
        write_raw(tmp_path / "S2" / "deep" / "deeper" / f"bad_{number}.npz", **changes)
    with pytest.raises(DataError):
        read_tree(tmp_path, READING)
    with caplog.at_level("WARNING"):
        tree = read_tree(tmp_path, replace(READING, strict=False))
    assert [run.trial.name for run in tree.runs] == ["S1/walk/good"]
    assert len(tree.refused) == len(BAD)
    assert f"{len(BAD)} of {len(BAD) + 1} trials skipped" in caplog.text
    assert tree.table().count("\n") == len(BAD) + 1


def test_nan_in_a_missing_frame_is_no_fault(tmp_path, write_raw):
    missing = np.zeros(200, bool)
    missing[7] = True
    assert read_trial(write_raw(tmp_path / "a.npz", model_states=NAN, probably_missing=missing)).missing.sum() == 1


def test_a_written_trial_is_the_same_bytes_and_comes_back(tmp_path, walking):
    one, two = (write_trial(tmp_path / f"{name}.npz", walking) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    again = read_trial(one)
    assert np.allclose(again.states, walking.states, atol=1e-5)
    assert (again.label, again.fps, again.root) == ("walk", 100.0, "position")


def test_the_unit_of_the_root_is_found(walking):
    from hmu.gait.columns import ROOT_COLUMNS
    from hmu.gait.standard import standard

    assert root_unit(walking.states) == "position"
    assert root_unit(standard(walking)[0].states) == "velocity"
    absolute = walking.states.copy()
    absolute[:, ROOT_COLUMNS] += walking.start
    assert root_unit(absolute) == "absolute"
