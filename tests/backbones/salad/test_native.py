from __future__ import annotations

import json

import pytest
import torch

from hmu.backbones.salad import Salad, build
from hmu.checkpoints.safe import load_safetensors
from hmu.errors import CheckpointError, ConfigError

from .conftest import seeded, tiny

LENGTHS = torch.tensor([24, 16])
TEXTS = ["a person kicks", "a person waves"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 0.05)])
def test_a_model_folder_generates_the_same(tmp_path, dtype, tolerance):
    model = tiny(latent_scale=1.7)
    model.save_pretrained(tmp_path / "m", dtype)
    again = build(str(tmp_path / "m"), sampling={"steps": 3, "guidance": 2.0})
    assert not again.training
    assert again.latent_scale == 1.7
    assert torch.equal(again.mean, model.mean)
    assert all(not p.requires_grad for p in again.text.parameters())
    one, two = (m.sample(TEXTS, LENGTHS, generator=seeded()) for m in (model, again))
    assert float((one - two).abs().max()) <= tolerance
    stored = load_safetensors(tmp_path / "m" / "weights.safetensors")
    assert not [name for name in stored if name.endswith((".pe", "adj_matrix", "_pool", "_unpool"))]  # recomputed
    assert stored["mean"].dtype == torch.float32
    assert stored["denoiser.word_emb.weight"].dtype == getattr(torch, dtype)


def test_further_training_reaches_the_stored_text_encoder(tmp_path):
    tiny().save_pretrained(tmp_path)
    model = Salad.load_pretrained(tmp_path)
    model.encode_text(["a"])
    assert any(p is model.text.words.weight for p in model.stage_parameters("denoiser"))
    assert model.trains_text


def test_other_encoders_are_not_stored(tmp_path):
    model = tiny(text=None, text_width=8)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["text"] is None
    assert Salad.load_pretrained(tmp_path).text_width == 8
    with pytest.raises(CheckpointError, match="width 8, the encoder has 16"):
        Salad.load_pretrained(tmp_path, text=tiny().text)


def _config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _denoiser(folder, **changes):
    stored = json.loads((folder / "config.json").read_text())["denoiser"]
    _config(folder, denoiser=stored | changes)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "broken JSON"),
        (lambda f: _config(f, family="momask"), "holds a 'momask' model"),
        (lambda f: _config(f, surprise=1), "another version"),
        (lambda f: _config(f, text={"_target_": "os.system", "command": "true"}), "refused"),
        (lambda f: (f / "weights.safetensors").unlink(), "no such file"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"abc"), "safetensors"),
        (lambda f: _denoiser(f, n_layers=5), "misses"),
    ],
)
def test_refuses_in_one_line(tmp_path, break_it, message):
    tiny().save_pretrained(tmp_path)
    break_it(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        build(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_refuses_other_features_dtypes_and_absent_assets(tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="features=251"):
        build(str(tmp_path), features=251)
    with pytest.raises(ConfigError, match="dtype"):
        tiny().save_pretrained(tmp_path, "int8")
    with pytest.raises(CheckpointError, match="carries no such model"):
        build("asset:demo/nothing")


@pytest.mark.parametrize("name", ["salad", "salad_demo"])
def test_configurations_build(name):
    from hydra import compose, initialize_config_dir

    from hmu.build import instantiate
    from hmu.config import CONFIGS, check_targets

    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(overrides=[f"+backbone={name}"])
    check_targets(config)
    changes = {"checkpoint": None} if name == "salad_demo" else {"checkpoint": None, "text": None}
    model = instantiate(config.backbone, **changes)
    assert isinstance(model, Salad)
    if name == "salad":
        assert sum(p.numel() for p in model.denoiser.parameters()) == 9_894_176
        assert sum(p.numel() for p in model.vae.parameters()) == 168_223
