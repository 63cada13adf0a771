from __future__ import annotations

import pytest
import torch

from hmu.backbones.tokens.encoder import SelfAttention, from_authors
from hmu.errors import ConfigError
from tests.authors_names import to_authors

from .conftest import CODES, TEXT, network, options, seeded


def batch(rows: int = 2, tokens: int = 6):
    ids = torch.randint(CODES, (rows, tokens), generator=seeded(1))
    return ids, torch.randn(rows, TEXT, generator=seeded(2))


@torch.no_grad()
def test_outputs_follow_what_they_may_see(net):
    """Changing one token changes the rows that attend to it and no others."""
    ids, text = batch()
    conditions = torch.zeros_like(ids, dtype=torch.bool)
    conditions[:, 3] = True
    for shown in (None, conditions):
        mask = net.attention_mask(shown)[:, 0] if shown is not None else torch.ones(2, 7, 7).tril().bool()
        for token in range(6):
            other = ids.clone()
            other[:, token] = (other[:, token] + 1) % CODES
            changed = (net(ids, text, shown) - net(other, text, shown)).abs().amax(-1) > 1e-6
            assert torch.equal(changed, mask[:, :, token + 1])


@torch.no_grad()
def test_conditions_see_each_other_and_nothing_else(net):
    conditions = torch.tensor([[False, True, False, True]])
    mask = net.attention_mask(conditions)[0, 0].int().tolist()
    assert mask == [[1, 0, 1, 0, 1], [1, 1, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1], [1, 0, 1, 0, 1]]


@torch.no_grad()
def test_guidance_in_one_pass_is_the_formula_in_two(net):
    ids, text = batch()
    with_text, without = net(ids, text), net(ids, torch.zeros_like(text))
    torch.testing.assert_close(net.guided(ids, text, 1.0), with_text)
    torch.testing.assert_close(net.guided(ids, text, 0.0), without)
    expected = without + 3.5 * (with_text - without)
    torch.testing.assert_close(net.guided(ids, text, 3.5), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_place_by_place_equals_all_at_once(net):
    ids, text = batch()
    memories = net.memories(2, 7)
    states = [net.read(net.embed_text(text), memories, 0)]
    states += [net.read(net.embed_tokens(ids[:, t : t + 1], t + 1), memories, t + 1) for t in range(6)]
    logits = net.output_process.poseFinal(net.output_process.features(torch.cat(states, 1)))
    torch.testing.assert_close(logits, net(ids, text), atol=1e-5, rtol=1e-4)


def test_every_projection_is_a_linear_layer_that_gets_a_gradient(net):
    ids, text = batch()
    net(ids, text).square().sum().backward()
    modules = dict(net.named_modules())
    names = [f"{n}.{leaf}" for n, part in modules.items() if isinstance(part, SelfAttention) for leaf in part.names]
    assert len(names) == 2 * 4
    for name in names:
        assert type(modules[name]) is torch.nn.Linear
        assert modules[name].weight.grad.any(), name


def test_names_go_to_the_authors_and_back(net):
    state = net.state_dict()
    theirs = to_authors(state)
    official = net.options.blocks == "official"
    assert ("seqTransEncoder.layers.0.self_attn.in_proj_weight" in theirs) == official
    assert ("seqTransEncoder.blocks.1.attn.query.bias" in theirs) == (not official)
    again = from_authors(theirs)
    assert set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_dropout_is_on_in_training_only():
    net, (ids, text) = network(dropout=0.5), batch()
    assert torch.equal(net(ids, text), net(ids, text))
    net.train()
    assert not torch.equal(net(ids, text), net(ids, text))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"blocks": "gpt"}, "official or t2mgpt"), ({"max_tokens": 64}, "1 to 63"), ({"random_rate": 2}, "random_rate=2"),
     ({"n_heads": 3}, "divisible")],
)  # fmt: skip
def test_refuses_impossible_sizes(changes, words):
    with pytest.raises(ConfigError, match=words):
        options(**changes)
