from __future__ import annotations

import os
import pickle
import sys
import types

import pytest
import torch

from hmu.backbones.gaitdynamics import build, load_authors
from hmu.backbones.gaitdynamics.authors import read_adapter, read_checkpoint, to_published
from hmu.errors import CheckpointError
from tests.backbones.gaitdynamics.conftest import SIZES, toy
from tests.parity.gait_lora import published_modules


@pytest.fixture
def classes(monkeypatch):
    """Modules and classes of the authors' names, as their training script would have them."""
    made = {}
    for module, name in (("data.preprocess", "Normalizer"), ("data.scaler", "MinMaxScaler")):
        home = types.ModuleType(module)
        made[name] = type(name, (), {"__module__": module})
        setattr(home, name, made[name])
        monkeypatch.setitem(sys.modules, module, home)
    monkeypatch.setitem(sys.modules, "data", types.ModuleType("data"))
    return made


def pickled_normaliser(classes, model, **extra):
    scaler = classes["MinMaxScaler"]()
    scaler.feature_range, scaler.copy, scaler.clip, scaler.n_samples_seen_ = (-10, 10), True, True, 500
    for name, value in model.normaliser.named_buffers():
        setattr(scaler, name, value.clone())
    normaliser = classes["Normalizer"]()
    normaliser.scaler, normaliser.cols_to_normalize = scaler, range(63)
    vars(normaliser).update(extra)
    return normaliser


@pytest.fixture
def written(tmp_path, classes, model):
    path = tmp_path / "train-1_diffusion.pt"
    torch.save({"ema_state_dict": to_published(model.decoder), "normalizer": pickled_normaliser(classes, model)}, path)
    for module in ("data.preprocess", "data.scaler"):
        del sys.modules[module]  # reading must not need, find or run them
    return path


def test_a_pickled_checkpoint_is_read_without_the_authors_classes(written, model):
    loaded = load_authors(written, decoder={"heads": SIZES["heads"]})
    x, time = torch.randn(2, 12, 63), torch.tensor([5, 900])
    assert torch.equal(loaded.decoder(x, time), model.decoder(x, time))
    assert torch.equal(loaded.normaliser.scale_, model.normaliser.scale_)
    assert loaded.normaliser.samples == 500
    assert "data.preprocess" not in sys.modules
    assert loaded.origin["model"]["sha256"].keys() == {written.name}
    built = build(str(written), decoder={"heads": SIZES["heads"]})
    assert torch.equal(built.decoder(x, time), model.decoder(x, time))


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("where", ["normalizer", "inside"])
def test_a_malicious_pickle_with_the_same_class_names_is_refused_and_not_run(tmp_path, classes, model, where):
    flag = tmp_path / "ran"
    evil = type("Normalizer", (Evil,), {"__module__": "data.preprocess"})(flag)
    normaliser = evil if where == "normalizer" else pickled_normaliser(classes, model, scaler=Evil(flag))
    torch.save({"ema_state_dict": to_published(model.decoder), "normalizer": normaliser}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="would run code"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not flag.exists()
    with (tmp_path / "raw.pt").open("wb") as stream:
        pickle.dump({"normalizer": evil}, stream)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "raw.pt")
    assert not flag.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model_state_dict": {}}, "'model_state_dict'"),
        ({"ema_state_dict": {"a": torch.zeros(1)}, "optimizer": {}}, "'optimizer'"),
        ({"ema_state_dict": {"a": torch.zeros(1)}}, "'normalizer' is missing"),
        ({"ema_state_dict": [1], "normalizer": 1}, "not a mapping"),
        ({"ema_state_dict": {"a": torch.zeros(1)}, "normalizer": 1}, "normaliser has"),
    ],
)
def test_anything_else_in_a_checkpoint_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_normaliser_with_unknown_attributes_or_shapes_is_refused(tmp_path, classes, model):
    for extra, words in (({"hook": 1}, "unknown attribute 'hook'"), ({"cols_to_normalize": range(5)}, "misshapen")):
        normaliser = pickled_normaliser(classes, model, **extra)
        torch.save({"ema_state_dict": to_published(model.decoder), "normalizer": normaliser}, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(tmp_path / "x.pt")


def test_the_three_parts_are_put_together_and_a_lost_one_is_named(tmp_path, classes, model):
    state = list(to_published(model.decoder).items())
    cuts = [0, len(state) // 3, 2 * len(state) // 3, len(state)]
    for number in range(3):
        content = {"ema_state_dict": dict(state[cuts[number] : cuts[number + 1]])}
        if number == 0:
            content["normalizer"] = pickled_normaliser(classes, model)
        torch.save(content, tmp_path / f"m_part{number + 1}.pt")
    for name in ("m_part1.pt", "m_part3.pt", "m.pt"):
        assert len(read_checkpoint(tmp_path / name).state) == len(state)
    (tmp_path / "m_part2.pt").unlink()
    with pytest.raises(CheckpointError, match="lacks m_part2"):
        read_checkpoint(tmp_path / "m_part1.pt")


def test_adapter_files_are_checked_pair_by_pair(tmp_path, model):
    layers = published_modules(2)
    good = {}
    for name in layers:
        good |= {f"{name}.lora_A.weight": torch.zeros(2, 5), f"{name}.lora_B.weight": torch.zeros(7, 2)}
    torch.save({"lora_state_dict": good}, tmp_path / "a.pt")
    factors, normaliser = read_adapter(tmp_path / "a.pt")
    assert list(factors) == layers
    assert normaliser is None
    for change, words in (
        ({"x.lora_A.weight": torch.zeros(2, 5)}, "not a pair"),
        ({"x.weight": torch.zeros(2, 5)}, "no adapter weight"),
    ):
        torch.save({"lora_state_dict": change}, tmp_path / "b.pt")
        with pytest.raises(CheckpointError, match=words):
            read_adapter(tmp_path / "b.pt")
    torch.save({"ema_state_dict": to_published(toy().decoder)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="'ema_state_dict'"):
        read_adapter(tmp_path / "c.pt")
