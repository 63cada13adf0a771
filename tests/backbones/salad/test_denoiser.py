from __future__ import annotations

import pytest
import torch

from hmu.backbones.salad.attention import Attention, key_bias
from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.options import DenoiserOptions
from hmu.errors import ConfigError
from tests import published
from tests.parity.attention import AttentionMaps

SIZES = {"latent_dim": 16, "n_heads": 2, "n_layers": 5, "ff_dim": 24, "max_positions": 400}
OPTIONS = published.options(DenoiserOptions, dropout=0.0, **SIZES)


@pytest.fixture
def net() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(4, 8, OPTIONS).eval()


def inputs(batch=3, frames=5, words=6):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(batch, frames, 7, 4, generator=g)
    w = torch.randn(batch, words, 8, generator=g)
    return x, torch.tensor([0, 400, 999])[:batch], w, torch.ones(batch, words, dtype=torch.bool)


@torch.no_grad()
def test_fused_and_explicit_attention_agree(net):
    x, t, w, m = inputs()
    m[1, 3:] = False
    frames = torch.arange(5)[None] < torch.tensor([5, 2, 4])[:, None]
    maps = AttentionMaps()
    plain = net(x, t, w, m, frames)
    with maps.watching(net):
        kept = net(x, t, w, m, frames)
    torch.testing.assert_close(plain, kept, atol=1e-5, rtol=1e-4)
    assert maps["skel"].shape == (15, 5, 2, 7, 7)
    assert maps["temp"].shape == (21, 5, 2, 5, 5)
    assert maps["cross"].shape == (3, 5, 2, 35, 6)
    torch.testing.assert_close(maps["cross"].sum(-1), torch.ones(3, 5, 2, 35))
    assert not maps["cross"][1, ..., 3:].any()
    forced = AttentionMaps({kind: maps[kind] for kind in ("skel", "temp", "cross")})
    with forced.watching(net):
        torch.testing.assert_close(net(x, t, w, m, frames), plain, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_row_with_no_valid_key_is_uniform(dtype):
    attention = Attention(8, 2).to(dtype)
    x, words = torch.randn(1, 2, 7, 8).to(dtype) * 5, torch.randn(1, 4, 8).to(dtype)
    memory = attention.memory(words)
    nothing = attention.cross(x, memory, key_bias(torch.zeros(1, 4, dtype=torch.bool), dtype))
    values = memory[1].mean(2).transpose(0, 1).reshape(1, 1, 1, 8)
    expected = attention.Wo(values).expand_as(nothing)
    torch.testing.assert_close(nothing, expected, atol=1e-5 if dtype.itemsize > 2 else 2e-2, rtol=1e-2)


@torch.no_grad()
def test_padding_changes_nothing(net):
    x, t, w, m = inputs()
    frames = torch.arange(5)[None] < torch.tensor([5, 3, 5])[:, None]
    m[1, 4:] = False
    whole = net(x, t, w, m, frames)
    alone = net(x[1:2, :3], t[1:2], w[1:2, :4], m[1:2, :4])
    torch.testing.assert_close(whole[1:2, :3], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_branches_share_the_pass_until_text_enters(net):
    x, t, w, m = inputs()
    frames = torch.arange(5)[None] < torch.tensor([5, 3, 4])[:, None]
    both_w, both_m = torch.cat([w.flip(1), w]), torch.cat([m, m])
    memory = net.remember(both_w, both_m)
    expected = net(torch.cat([x, x]), torch.cat([t, t]), both_w, both_m, torch.cat([frames, frames]))
    torch.testing.assert_close(net(x, t, frame_mask=frames, memory=memory), expected, atol=1e-5, rtol=1e-4)
    scalar = net(x, torch.tensor(7), frame_mask=frames, memory=memory)
    torch.testing.assert_close(scalar[:3], net(x, torch.full((3,), 7), w.flip(1), m, frames), atol=1e-5, rtol=1e-4)


def test_every_weight_gets_a_gradient(net):
    net.train()
    net(*inputs()).square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not [name for name in silent if not name.endswith("Wk.bias")]  # key biases cancel in the softmax


def test_published_size_has_sixty_adapter_targets():
    with torch.device("meta"):
        net = Denoiser(32, 512, published.options(DenoiserOptions))
    assert len(net.attention_linears()) == 60
    groups = net.groups()
    assert sorted(groups["cross"] + groups["rest"]) == sorted(groups["all"])
    assert len(groups["cross_kv"]) == 20
    assert set(groups["cross_kv"]) < set(groups["cross"])


@pytest.mark.parametrize("wrong", [{"n_layers": 4}, {"latent_dim": 10, "n_heads": 4}, {"loss": "l3"}])
def test_refuses_impossible_options(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        published.options(DenoiserOptions, **wrong)
