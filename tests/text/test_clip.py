import shutil
import sys

import numpy as np
import pytest
import torch

from hmu.errors import CheckpointError, ConfigError, MissingExtra
from hmu.text.clip import ClipTextEncoder
from tests.conftest import shared
from tests.parity.clip_text import clip_text, tower_from_weights

FOLDER = "checkpoints/clip-vit-base-patch32"


def weights(width=16, layers=2, positions=12, projection=None):
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "embeddings.token_embedding.weight": (40, width),
        "embeddings.position_embedding.weight": (positions, width),
    }
    for layer in range(layers):
        root = f"encoder.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{root}.self_attn.{name}.weight": (width, width), f"{root}.self_attn.{name}.bias": (width,)}
        shapes |= {f"{root}.mlp.fc1.weight": (24, width), f"{root}.mlp.fc1.bias": (24,)}
        shapes |= {f"{root}.mlp.fc2.weight": (width, 24), f"{root}.mlp.fc2.bias": (width,)}
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{root}.{name}.weight": (width,), f"{root}.{name}.bias": (width,)}
    shapes |= {"final_layer_norm.weight": (width,), "final_layer_norm.bias": (width,)}
    if projection:
        shapes["text_projection.weight"] = (projection, width)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_tower_from_weights_reads_sizes_and_prefixes():
    plain = weights(projection=8)
    encoder = tower_from_weights(plain, heads=4)
    prefixed = tower_from_weights(
        {f"text_model.{k}" if "proj" not in k[:9] else k: v for k, v in plain.items()}, heads=4
    )
    ids = torch.tensor([[38, 5, 39, 39], [38, 7, 9, 39]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    a, b = encoder.encode_ids(ids, mask), prefixed.encode_ids(ids, mask)
    assert a.tokens.shape == (2, 4, 16)
    assert torch.equal(a.tokens, b.tokens)
    assert a.mask.dtype == torch.bool
    pooled = a.tokens[[0, 1], [2, 3]] @ plain["text_projection.weight"].T
    assert torch.allclose(a.pooled, pooled, atol=1e-5)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder.train().model.training
    assert encoder.fingerprint == prefixed.fingerprint
    assert encoder.fingerprint != tower_from_weights(weights(), heads=4).fingerprint


def test_incomplete_weights_and_missing_tokenizer_are_named():
    broken = weights()
    del broken["final_layer_norm.bias"]
    with pytest.raises(CheckpointError, match=r"final_layer_norm\.bias"):
        tower_from_weights(broken, heads=4)
    with pytest.raises(CheckpointError, match="without a tokenizer"):
        tower_from_weights(weights(), heads=4).encode(["a"])


def test_golden_tower():
    checks = list(clip_text(shared("golden/salad/dev/clip_text")))
    assert len(checks) >= 4
    assert [check.name for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", ["word_emb", "w/final_layer_norm.bias", "token_mask"])
def test_corrupted_golden_fails(tmp_path, name):
    arrays = dict(np.load(shared("golden/salad/dev/clip_text") / "vectors.npz"))
    array = arrays[name].copy()
    array.flat[0] = not array.flat[0] if array.dtype == bool else array.flat[0] + 0.01
    arrays[name] = array
    np.savez(tmp_path / "vectors.npz", **arrays)
    assert not all(check.passed for check in clip_text(tmp_path))


def test_real_folder():
    encoder = ClipTextEncoder(shared(FOLDER))
    texts = ["", "a person waves with the left hand", "wave " * 200]
    condition = encoder.encode(texts)
    assert condition.tokens.shape == (3, 77, 512)
    assert condition.mask.sum(1).tolist()[0] == 2
    alone = encoder.encode(texts[1:2])
    n = alone.tokens.shape[1]
    assert n < 77
    assert torch.allclose(alone.tokens[0], condition.tokens[1, :n], atol=1e-5)
    assert not any("vision" in name for name, _ in encoder.named_parameters())
    pooled = ClipTextEncoder(shared(FOLDER), output="pooled")
    single = pooled.encode(texts)
    assert single.tokens.shape == (3, 1, 512)
    assert torch.allclose(single.tokens[:, 0], condition.pooled)
    assert pooled.fingerprint != encoder.fingerprint


@pytest.mark.parametrize("removed", ["model.safetensors", "config.json"])
def test_incomplete_folder(tmp_path, removed):
    folder = tmp_path / "clip"
    shutil.copytree(shared(FOLDER), folder, copy_function=shutil.copyfile)
    (folder / removed).unlink()
    with pytest.raises(CheckpointError, match="clip: cannot load") as caught:
        ClipTextEncoder(folder)
    assert "\n" not in str(caught.value)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="hidden, pooled"):
        ClipTextEncoder("x", output="tokens")
    with pytest.raises(CheckpointError, match="no such folder"):
        ClipTextEncoder("./nowhere/clip")


def test_no_network_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CheckpointError, match="cannot be reached"):
        ClipTextEncoder("nobody/no-such-clip")
    with pytest.raises(CheckpointError, match="trust_network is false"):
        ClipTextEncoder("nobody/no-such-clip", trust_network=False)


def test_missing_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"hmu\[clip\]"):
        ClipTextEncoder(tmp_path)
