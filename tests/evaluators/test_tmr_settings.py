"""Settings of the authors' run directories, and of forks'."""

from __future__ import annotations

import json

import pytest

from hmu.checkpoints.kinds import line
from hmu.errors import CheckpointError
from hmu.evaluators.tmr.settings import authors_objective, authors_settings, our_settings, run_config, stated

PART = {"ff_size": 12, "num_layers": 2, "num_heads": 2, "dropout": 0.1, "activation": "gelu", "latent_dim": 8}


def model(**changes):
    return {"model": {"motion_encoder": PART, "temperature": 0.1, "lmd": {"kl": 1e-5}, **changes}}


def test_known_settings_have_our_names_and_null_keeps_the_default():
    part = {"ff": 12, "layers": 2, "heads": 2, "dropout": 0.1, "activation": "gelu"}
    assert authors_settings(model()) == {"motion_encoder": part}
    assert authors_settings(model(motion_encoder={**PART, "num_heads": None, "dropout": None})) == {
        "motion_encoder": {"ff": 12, "layers": 2, "activation": "gelu"}
    }
    assert authors_settings({}) == {}
    assert authors_settings({"model": None}) == {}


def test_unknown_terms_of_the_loss_are_left_out_with_a_warning(caplog):
    found = authors_objective(model(lmd={"kl": 1e-5, "foot": 0.3, "recons": None}))
    assert found == {"temperature": 0.1, "weights": {"kl": 1e-5}}
    assert "not known here: foot" in caplog.text
    assert authors_objective(model(threshold_selfsim=None))["threshold"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"motion_encoder": {**PART, "num_heads": "four"}}, "model.motion_encoder.num_heads=four, expected a whole"),
        ({"motion_encoder": {**PART, "num_heads": 0}}, "num_heads=0"),
        ({"motion_encoder": {**PART, "ff_size": 10**9}}, "ff_size=1000000000"),
        ({"motion_encoder": {**PART, "activation": "swish"}}, "activation=swish, expected one of gelu, relu"),
        ({"motion_encoder": [1]}, r"model.motion_encoder=\[1\], expected a mapping"),
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": "warm"}, "temperature=warm"),
        ({"threshold_selfsim": [0.8]}, "threshold_selfsim"),
        ({"lmd": 3}, "lmd=3, expected a mapping"),
        ({"lmd": {"kl": -1}}, "lmd.kl=-1"),
    ],
)
def test_other_types_and_absurd_numbers_are_refused(changes, words):
    config = model(**changes)
    read = authors_settings if "motion_encoder" in changes else authors_objective
    with pytest.raises(CheckpointError, match=words):
        read(config, "config.json")


def test_a_run_directory_may_keep_its_settings_in_yaml(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        run_config(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("model:\n  temperature: 0.2\n")
    assert run_config(tmp_path)[0] == {"model": {"temperature": 0.2}}
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(model()).encode())
    assert run_config(tmp_path)[0] == model()
    for content in ("[1]", "null", "3", "{"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"config\.json"):
            run_config(tmp_path)


def test_names_deep_in_the_settings():
    config = {"data": {"motion_loader": {"normalizer": None}, "text": 3, "list": [1]}}
    assert stated(config, "c", "data.motion_loader.normalizer.base_dir", line()) is None
    assert stated(config, "c", "data.text", line()) == "3"
    with pytest.raises(CheckpointError, match=r"data.list=\[1\], expected a mapping"):
        stated(config, "c", "data.list.x", line())
    with pytest.raises(CheckpointError, match="expected a text"):
        stated(config, "c", "data.list", line())


def test_our_own_settings_are_checked_too(tmp_path):
    good = {"heads": 2, "ff": 12, "layers": 2, "dropout": 0.1, "activation": "relu"}
    assert our_settings({"motion_encoder": good}, tmp_path)["motion_encoder"] == good
    for wrong in (3, {"motion_encoder": 3}, {"motion_encoder": {"heads": "2"}}, {"motion_encoder": {"x": 1}}):
        with pytest.raises(CheckpointError):
            our_settings(wrong, tmp_path)
