from __future__ import annotations

import copy
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from hmu.backbones.momask import build as build_momask
from hmu.backbones.salad import build as build_salad
from hmu.errors import CheckpointError, HmuError
from hmu.evaluators.guo import build as build_guo
from tests.backbones.momask.conftest import tiny as tiny_momask
from tests.backbones.salad.conftest import tiny as tiny_salad
from tests.evaluators.test_guo import small

BUILD = {"salad": build_salad, "momask": build_momask, "guo": build_guo}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_salad().save_pretrained(root / "salad")
    tiny_momask().save_pretrained(root / "momask")
    small().save_pretrained(root / "guo")
    return {name: (root / name, json.loads((root / name / "config.json").read_text())) for name in BUILD}


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("salad", ("denoiser", "latent_dim"), 10**9),
        ("salad", ("denoiser", "latent_dim"), 0),
        ("salad", ("denoiser", "n_layers"), 2001),
        ("salad", ("vae", "latent_dim"), 4096),
        ("salad", ("text_width",), 60_000),
        ("salad", ("fps",), "20"),
        ("salad", ("max_frames",), 0),
        ("salad", ("chains",), [["a"]]),
        ("momask", ("rvq", "codes"), 65_536),
        ("momask", ("rvq", "width"), 8192),
        ("momask", ("masked", "n_heads"), 0),
        ("momask", ("residual", "ff_size"), 60_000),
        ("momask", ("length", "hidden"), [10**9, 1, 1]),
        ("momask", ("features",), None),
        ("guo", ("movement_hidden",), 10**9),
        ("guo", ("width",), {"x": 1}),
        ("guo", ("max_frames",), 6.5),
        ("guo", ("words",), ["sos", "eos", "unk", *map(str, range(10**5))]),
    ],
)
def test_a_size_that_the_weights_cannot_have_is_refused_before_it_is_made(folders, name, keys, value):
    folder, config = folders[name]
    changed = copy.deepcopy(config)
    node = changed
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(HmuError, match=keys[-1]) as error:
        BUILD[name](str(folder))
    assert len(str(error.value)) < 300 + len(str(folder))
    (folder / "config.json").write_text(json.dumps(config))
    BUILD[name](str(folder))


@pytest.mark.parametrize(("name", "key"), [("salad", "std"), ("momask", "statistics.std"), ("guo", "std")])
def test_a_std_that_nothing_can_be_divided_by_is_refused(folders, tmp_path, name, key):
    folder = shutil.copytree(folders[name][0], tmp_path / name)
    weights = load_file(folder / "weights.safetensors")
    weights[key][5] = 0.0
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"weights.safetensors: .* std that is not above 0"):
        BUILD[name](str(folder))
