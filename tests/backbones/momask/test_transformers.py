from __future__ import annotations

import pytest
import torch

from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import LengthOptions
from hmu.backbones.tokens.encoder import PROJECTIONS, from_authors
from hmu.backbones.tokens.options import ResidualOptions, TransformerOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from tests import published
from tests.authors_names import to_authors

from .conftest import seeded

SIZES = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "positions": 20}


@pytest.fixture
def masked() -> MaskedTransformer:
    torch.manual_seed(0)
    return jolt(MaskedTransformer(7, 8, 5, published.options(TransformerOptions, **SIZES)))


def residual(**options) -> ResidualTransformer:
    torch.manual_seed(0)
    return jolt(ResidualTransformer(7, 4, 8, 5, published.options(ResidualOptions, **SIZES, **options)))


def jolt(module):
    """Weights large enough to be seen in the output, biases not zero."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def ids(batch: int = 2, tokens: int = 6) -> torch.Tensor:
    return torch.randint(7, (batch, tokens), generator=seeded(1))


def text(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 5, generator=seeded(2))


def test_names_go_to_the_authors_and_back(masked):
    state = masked.state_dict()
    theirs = to_authors(state)
    layer = "seqTransEncoder.layers.1.self_attn"
    assert theirs[f"{layer}.in_proj_weight"].shape == (48, 16)
    assert torch.equal(theirs[f"{layer}.in_proj_bias"][16:32], state[f"{layer}.k_proj.bias"])
    assert not [name for name in theirs if name.split(".")[-2] in PROJECTIONS]
    again = from_authors(theirs)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_equals_torchs_encoder(masked):
    layer = torch.nn.TransformerEncoderLayer(16, 2, 24, 0.0, "gelu", batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    mine = masked.seqTransEncoder
    encoder.load_state_dict(to_authors(mine.state_dict()))
    x, valid = torch.randn(2, 5, 16, generator=seeded()), torch.tensor([[True] * 5, [True, True, True, False, False]])
    expected = encoder(x, src_key_padding_mask=~valid)
    torch.testing.assert_close(mine(x, valid[:, None, None]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_in_front_of_the_last_layer_equals_guidance_behind_it(masked, scale):
    cond, none = masked(ids(), text()), masked(ids(), torch.zeros(2, 5))
    expected = none + scale * (cond - none)
    torch.testing.assert_close(masked.guided(ids(), text(), scale), expected, atol=1e-5, rtol=1e-4)
    for share in (True, False):
        net = residual(share_weight=share, doubled_head=not share)
        history, layers = net.history(ids(2, 6)[..., None]), torch.full((2,), 2)
        cond, none = net(history, layers, text()), net(history, layers, torch.zeros(2, 5))
        guided = net.guided(history, 2, text(), scale)
        torch.testing.assert_close(guided, none + scale * (cond - none), atol=1e-4, rtol=1e-4)


def test_padding_is_not_read(masked):
    valid = torch.tensor([[True] * 6, [True, True, True, False, False, False]])
    alone = masked(ids()[1:, :3], text()[1:])
    torch.testing.assert_close(masked(ids(), text(), valid)[1, :3], alone[0], atol=1e-5, rtol=1e-4)
    net, layers = residual(), torch.tensor([1, 2])
    history = net.history(ids()[..., None])
    alone = net(history[1:, :3], layers[1:], text()[1:])
    torch.testing.assert_close(net(history, layers, text(), valid)[1, :3], alone[0], atol=1e-5, rtol=1e-4)


def test_head_of_a_layer_is_the_embedding_of_the_same_layer():
    net = residual(share_weight=True)
    for layer in (1, 2):
        assert net.head(layer)[0].data_ptr() == net.embedding(layer).data_ptr()
    assert net.head(3)[0].data_ptr() == net.output_proj_weight_.data_ptr()
    assert net.embedding(0).data_ptr() == net.token_embed_weight_.data_ptr()


def test_the_authors_doubled_head_is_an_option():
    plain, doubled = residual(share_weight=False), residual(share_weight=False, doubled_head=True)
    history, layers = plain.history(ids()[..., None]), torch.tensor([1, 3])
    bias = plain.output_proj_bias[layers - 1, None, :7]
    one, two = plain(history, layers, text()) - bias, doubled(history, layers, text()) - bias
    torch.testing.assert_close(two, 2 * one, atol=1e-5, rtol=1e-4)


def test_layers_of_a_batch_are_answered_as_alone():
    net, layers = residual(share_weight=False), torch.tensor([3, 1])
    stacked = torch.stack([ids(), ids().flip(1), ids().roll(1, 1)], -1)
    history = net.history(torch.where(torch.arange(3) < layers[:, None, None], stacked, -1))
    both = net(history, layers, text(), padding=True)
    assert both.shape == (2, 6, 8)
    for row in (0, 1):
        alone = net(net.history(stacked[row : row + 1, :, : layers[row]]), layers[row : row + 1], text()[row : row + 1])
        torch.testing.assert_close(both[row, :, :7], alone[0], atol=1e-5, rtol=1e-4)


def test_lengths_stay_within_limits_and_follow_the_generator():
    torch.manual_seed(0)
    net = jolt(LengthEstimator(5, LengthOptions(20, (8, 8, 8), 0.0)))
    many = text(1).expand(400, -1)
    drawn = net.draw(many, 3, 9, seeded())
    assert torch.equal(drawn, net.draw(many, 3, 9, seeded()))
    assert set(drawn.tolist()) <= set(range(3, 10))
    logits = net(text(1))[0, 3:10]
    shares = torch.bincount(drawn - 3, minlength=7) / 400
    torch.testing.assert_close(shares, logits.softmax(0), atol=0.1, rtol=0)
    assert net.draw(many, 3, 9, greedy=True)[0] == 3 + logits.argmax()
