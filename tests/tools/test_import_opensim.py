"""The OpenSim tools, as a user calls them."""

from __future__ import annotations

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from hmu.config import CONFIGS, check_config
from hmu.errors import ConfigError, DataError
from hmu.gait.export import export_coordinates, export_forces
from hmu.gait.mot import read_table
from hmu.gait.trial import read_trial
from hmu.tools import export_opensim, import_opensim
from tests.gait.conftest import demo_trial


def composed(name, **values):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, overrides=[f"{key}={value}" for key, value in values.items()])


@pytest.fixture
def files(tmp_path):
    trial = demo_trial("crouch", 0.5, 2.5)
    ik, grf = export_coordinates(tmp_path / "ik.mot", trial), export_forces(tmp_path / "grf.mot", trial)
    return {"kinematics": ik, "forces": grf, "mass": trial.mass, "height": trial.height}


def test_a_trial_goes_in_and_comes_out(tmp_path, files):
    target = tmp_path / "data" / "S01" / "crouch" / "trial_01.npz"
    config = composed("import_opensim", target=target, **files)
    assert import_opensim.run(config) == target
    trial = read_trial(target, tmp_path / "data")
    assert (trial.subject, trial.label) == ("S01", "crouch")
    with pytest.raises(ConfigError, match="overwrite=true"):
        import_opensim.run(config)
    out = composed("export_opensim", trial=target, target=tmp_path / "out" / "back")
    ik, grf = export_opensim.run(out)
    for ours, theirs in ((ik, files["kinematics"]), (grf, files["forces"])):
        a, b = read_table(ours), read_table(theirs)
        assert a.names == b.names
        assert np.abs(a.values - b.values).max() < 2e-3
    with pytest.raises(ConfigError, match="overwrite=true"):
        export_opensim.run(out)


def test_kinematics_alone_make_a_trial_of_missing_frames(tmp_path, files):
    target = tmp_path / "data" / "S01" / "walk" / "t.npz"
    import_opensim.run(composed("import_opensim", target=target, **(files | {"forces": "null"})))
    assert read_trial(target).missing.all()


def test_forces_that_carry_nobody_are_refused_or_only_said(tmp_path, files, caplog):
    heavy = {"target": tmp_path / "t.npz", **files, "mass": files["mass"] * 2.2046}
    with pytest.raises(DataError, match=r"in pounds"):
        import_opensim.run(composed("import_opensim", **heavy))
    assert not (tmp_path / "t.npz").exists()
    import_opensim.run(composed("import_opensim", **heavy, forces_check="false"))
    assert "in pounds" in caplog.text


def test_impossible_people_and_targets_are_refused_before_anything_is_read(tmp_path, files):
    for change, words in (
        ({"mass": -70}, "mass=-70: expected 10 to 250 kilograms"),
        ({"height": 180}, "height=180: expected 0.5 to 2.5 metres"),
        ({"degrees": "no"}, "degrees=no: expected true or false or null"),
        ({"target": tmp_path / "x.mat"}, "ends in .npz"),
        ({"knee": "up"}, "knee=up: expected auto"),
        ({"feet": "[right,both]"}, "feet=both: expected auto, right or left"),
    ):
        config = composed("import_opensim", **({"target": tmp_path / "x.npz"} | files | change))
        with pytest.raises(ConfigError, match=words):
            checked(config)


def checked(config):
    check_config(config, keys=import_opensim.Keys)
    import_opensim.run(config)


def test_only_files_that_the_tool_wrote_are_replaced(tmp_path, files):
    target = tmp_path / "walk" / "trial.npz"
    target.parent.mkdir()
    target.write_text("my thesis")
    again = {"target": target, "overwrite": "true"} | files
    with pytest.raises(ConfigError, match="was not written by this tool"):
        import_opensim.run(composed("import_opensim", **again))
    assert target.read_text() == "my thesis"
    target.unlink()
    import_opensim.run(composed("import_opensim", **({"target": target.with_name("other.npz")} | files)))
    for _ in range(2):
        import_opensim.run(composed("import_opensim", **again))
    assert target.with_name("other.npz").exists()
