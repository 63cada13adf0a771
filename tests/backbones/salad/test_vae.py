from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hmu.backbones.salad.options import VaeOptions
from hmu.backbones.salad.topology import Topology
from hmu.backbones.salad.vae import ResidualBlock, SkeletoTemporalConv, Unpool, Vae
from hmu.errors import ConfigError
from tests import published

BODY = Topology.of(263)
OPTIONS = published.options(VaeOptions, latent_dim=4, dropout=0.0)


@pytest.fixture(scope="module")
def net() -> Vae:
    torch.manual_seed(0)
    return Vae(BODY, OPTIONS).eval()


def test_convolution_is_its_formula():
    torch.manual_seed(0)
    adjacency = BODY.level(0).adjacency
    conv, x = SkeletoTemporalConv(adjacency, 5, 3), torch.randn(2, 6, 22, 5)
    a = torch.tensor(adjacency)
    own, shared = conv.graph_conv.linear1(x), conv.graph_conv.linear2(x)
    average = torch.einsum("ij,bfjd->bfid", a, shared) / (a.sum(1)[:, None] + 1e-6)
    time = conv.temp_conv(x.permute(0, 2, 3, 1).flatten(0, 1)).view(2, 22, 5, 6).permute(0, 3, 1, 2)
    torch.testing.assert_close(conv(x), own + average + time)


def test_joint_maps_are_the_perceptrons_of_each_joint(net):
    x = torch.randn(2, 3, 263)
    tokens = [net.motion_enc.layers[j](x[..., columns]) for j, columns in enumerate(BODY.columns)]
    torch.testing.assert_close(net.motion_enc(x), torch.stack(tokens, 2))
    latent, out = torch.randn(2, 3, 22, 4), torch.zeros(2, 3, 263)
    for j, columns in enumerate(BODY.columns):
        out[..., columns] = net.motion_dec.layers[j](latent[:, :, j])
    torch.testing.assert_close(net.motion_dec(latent), out)


def test_unpooling_in_time_is_linear_interpolation():
    unpool, x = Unpool(BODY.level(1).unpool), torch.randn(2, 5, 7, 3)
    doubled = F.interpolate(x.permute(0, 2, 3, 1).flatten(1, 2), scale_factor=2, mode="linear", align_corners=False)
    doubled = doubled.view(2, 7, 3, 10).permute(0, 3, 1, 2)
    torch.testing.assert_close(unpool(x), torch.matmul(unpool.skeleton_unpool, doubled))


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=2, max_size=3), st.integers(0, 100))
def test_a_padded_clip_is_treated_as_alone(quarters, seed):
    torch.manual_seed(seed)
    net = Vae(BODY, published.options(VaeOptions, latent_dim=3, norm="layer")).eval()
    lengths = torch.tensor(quarters) * 4
    motion = torch.randn(len(quarters), int(lengths.max()), 263)  # padding is rubbish on purpose
    latent = torch.randn(len(quarters), max(quarters), 7, 3)
    with torch.no_grad():
        means, _ = net.encode(motion, lengths)
        frames = net.decode(latent, lengths)
        for i, (n, m) in enumerate(zip(quarters, lengths.tolist(), strict=True)):
            torch.testing.assert_close(means[i, :n], net.encode(motion[i : i + 1, :m])[0][0], atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(frames[i, :m], net.decode(latent[i : i + 1, :n])[0], atol=2e-5, rtol=1e-4)


def test_without_lengths_padding_is_read_as_published(net):
    latent = torch.randn(2, 6, 7, 4)
    latent[0, 3:] = 0
    with torch.no_grad():
        alone, padded = net.decode(latent[:1, :3])[0], net.decode(latent)[0, :12]
        masked = net.decode(latent, torch.tensor([12, 24]))[0, :12]
    assert (alone - padded).abs().max() > 1e-2
    torch.testing.assert_close(alone, masked, atol=1e-5, rtol=1e-4)


def test_an_odd_length_loses_its_last_frames(net):
    x = torch.randn(1, 27, 263)
    with torch.no_grad():
        mean, _ = net.encode(x)
        assert mean.shape == (1, 6, 7, 4)
        assert net.decode(mean).shape == (1, 24, 263)


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_every_trainable_weight_gets_a_gradient(layers, norm):
    net = Vae(BODY, published.options(VaeOptions, latent_dim=3, n_layers=layers, norm=norm, activation="silu"))
    mean, logvar = net.encode(torch.randn(2, 16, 263))
    (net.decode(mean + logvar).square().mean() + mean.square().mean()).backward()
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and bool(p.grad.any()) for p in trainable.values())
    fixed = {name.rpartition(".")[2] for name, p in net.named_parameters() if not p.requires_grad}
    assert fixed == {"adj_matrix", "skeleton_pool", "skeleton_unpool"}


def test_residual_block_keeps_the_input_where_its_branch_is_silent():
    block, x = ResidualBlock(BODY.level(0).adjacency, OPTIONS), torch.randn(1, 4, 22, 4)
    for p in block.layers[5].parameters():
        p.data.zero_() if p.requires_grad else None
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("wrong", [{"n_layers": 1}, {"kernel_size": 4}, {"norm": "batch"}, {"activation": "tanh"}])
def test_refuses_impossible_options(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        published.options(VaeOptions, **wrong)
