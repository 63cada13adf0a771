from __future__ import annotations

import json

import pytest
import torch
from omegaconf import OmegaConf

from hmu.backbones.momask import MoMask, build
from hmu.backbones.momask.options import LengthOptions
from hmu.checkpoints.safe import load_safetensors
from hmu.errors import CheckpointError, ConfigError
from tests import published

from .conftest import motions, seeded, tiny

LENGTHS = torch.tensor([40, 24])
TEXTS = ["a person kicks", "a person waves"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_folder_generates_the_same(tmp_path, dtype):
    model = tiny(unlearn="masked")
    model.train()
    model.stage_loss("rvq", motions([40, 40]), seeded())  # the codebooks have running averages now
    model.eval().save_pretrained(tmp_path / "m", dtype)
    again = build(str(tmp_path / "m"), sampling=model.sampling, unlearn="masked")
    assert not again.training
    assert again.unlearn == "masked"
    assert torch.equal(again.statistics.mean, model.statistics.mean)
    assert all(not p.requires_grad for p in again.text.parameters())
    stored = load_safetensors(tmp_path / "m" / "weights.safetensors")
    assert not [name for name in stored if name.endswith((".pe", "code_noise"))]
    assert stored["statistics.std"].dtype == torch.float32
    assert stored["masked.token_emb.weight"].dtype == getattr(torch, dtype)
    assert ("rvq.quantizer.layers.0.code_count" in stored) == (dtype == "float32")
    if dtype == "float32":
        one, two = (m.sample(TEXTS, LENGTHS, generator=seeded()) for m in (model, again))
        assert torch.equal(one, two)
        assert torch.equal(*(m.rvq.quantizer.layers[1].code_count for m in (model, again)))
    else:
        half = {name: value.half().float() for name, value in model.masked.state_dict().items()}
        assert all(torch.equal(value, half[n]) for n, value in again.masked.state_dict().items() if ".pe" not in n)


def test_training_goes_on_from_a_half_precision_folder(tmp_path):
    tiny().save_pretrained(tmp_path, "float16")
    model = MoMask.load_pretrained(tmp_path).train()
    before = model.codebooks()["quantizer.layers.0.codebook"].clone()
    model.stage_loss("rvq", motions([40, 40]), seeded())
    after = model.codebooks()["quantizer.layers.0.codebook"]
    assert not torch.equal(before, after)
    assert (after - before).norm() < 0.2 * before.norm()
    assert any(p is model.text.words.weight for p in model.stage_parameters("masked"))


def test_other_encoders_and_missing_estimators_are_not_stored(tmp_path):
    model = tiny(text=None, text_width=8)
    model.length = None
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["text"] is None
    assert config["length"] is None
    again = MoMask.load_pretrained(tmp_path)
    assert again.text_width == 8
    assert again.length is None
    with pytest.raises(CheckpointError, match="width 8, the encoder has 16"):
        MoMask.load_pretrained(tmp_path, text=tiny().text)


def _config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _masked(folder, **changes):
    stored = json.loads((folder / "config.json").read_text())["masked"]
    _config(folder, masked=stored | changes)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "broken"),
        (lambda f: (f / "config.json").write_text("[1]"), "expected the settings of a model"),
        (lambda f: _config(f, family="salad"), "holds a 'salad' model.*choose backbone=salad"),
        (lambda f: _config(f, surprise=1), "another version"),
        (lambda f: _config(f, text={"_target_": "os.system", "command": "true"}), "refused"),
        (lambda f: (f / "weights.safetensors").unlink(), "no such file"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"abc"), "safetensors"),
        (lambda f: _masked(f, n_layers=3), "misses"),
    ],
)
def test_refuses_in_one_line(tmp_path, break_it, message):
    tiny().save_pretrained(tmp_path)
    break_it(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        build(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_run_is_answered_with_its_model(tmp_path):
    tiny().save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"no config\.json; give .*model, the model of this run$"):
        build(str(tmp_path))


def test_refuses_other_features_and_dtypes(tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="features=251"):
        build(str(tmp_path), features=251)
    with pytest.raises(ConfigError, match="dtype"):
        tiny().save_pretrained(tmp_path, "int8")


@pytest.mark.parametrize("name", ["momask", "momask_demo"])
def test_configurations_build(name):
    from hydra import compose, initialize_config_dir

    from hmu.build import instantiate
    from hmu.config import CONFIGS, check_targets

    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(overrides=[f"+backbone={name}", f"+recipe={name}"])
    check_targets(config)
    recipes = instantiate(config.recipe)
    assert set(recipes) == set(MoMask.stages)
    with torch.device("meta"):
        model = instantiate(config.backbone, checkpoint=None, text=None)
    assert isinstance(model, MoMask)
    weights = {n: sum(p.numel() for p in getattr(model, n).parameters()) for n in ("masked", "residual", "length")}
    if name == "momask":
        table = 5000 * 384  # of positions, which the published count includes
        assert weights == {"masked": 13_968_768 - table, "residual": 15_284_224 - table, "length": 435_122}
        assert sum(v.numel() for n, v in model.rvq.state_dict().items() if "code_" not in n) == 21_009_671


def test_the_demo_twin_is_small():
    from hydra import compose, initialize_config_dir

    from hmu.build import instantiate
    from hmu.config import CONFIGS

    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(overrides=["+backbone=momask_demo"])
    model = instantiate(config.backbone, checkpoint=None)
    words = 300 * model.text.width  # a vocabulary of that size
    books = sum(codes.numel() for codes in model.codebooks().values())
    assert 2 * (sum(p.numel() for p in model.parameters()) + words + books) <= 5_000_000


def test_widths_given_as_a_yaml_list_can_be_stored(tmp_path):
    hidden = OmegaConf.create([8, 6, 4])  # what Hydra hands over
    model = tiny(length=published.options(LengthOptions, classes=50, hidden=hidden))
    model.save_pretrained(tmp_path / "m")
    assert json.loads((tmp_path / "m" / "config.json").read_text())["length"]["hidden"] == [8, 6, 4]
