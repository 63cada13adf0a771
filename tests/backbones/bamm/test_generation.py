from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hmu.backbones.bamm import generation
from hmu.backbones.bamm.generation import (
    Noise,
    causal_pass,
    draw_noise,
    find_end,
    generate_ids,
    pick,
    refine_pass,
    renewed,
    renewed_tied,
    with_end,
)
from hmu.backbones.bamm.options import SamplingOptions
from hmu.backbones.tokens.sampling import ClipStreams
from hmu.errors import ConfigError
from tests import published

from .conftest import CODES, TEXT, network, seeded

PLACES = 9


def texts(rows: int = 4):
    return torch.randn(rows, TEXT, generator=seeded(3))


def noise_for(rows: int, seed: int = 0) -> Noise:
    return draw_noise(ClipStreams(torch.full((rows,), PLACES), seeded(seed)), PLACES, CODES + 1)


def slow_causal(net, text, scale, noise, may_end):
    """The published loop: the whole sequence anew for every token."""
    ids = torch.full((len(text), PLACES), net.pad_id)
    for place in range(PLACES):
        logits = net.guided(ids, text, scale)[:, place, : CODES + int(may_end)]
        ids[:, place] = pick(logits, noise[:, place])[0]
    return ids


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("may_end", [True, False])
@torch.no_grad()
def test_remembered_keys_give_the_same_tokens(net, scale, may_end):
    noise = noise_for(4).first
    drawn = causal_pass(net, texts(), PLACES, scale=scale, noise=noise, may_end=may_end, leftovers=True)
    assert torch.equal(drawn.ids, slow_causal(net, texts(), scale, noise, may_end))


@pytest.mark.parametrize("scale", [1.0, 3.0])
@torch.no_grad()
def test_remembered_conditions_give_the_same_tokens(net, scale):
    """With the known tokens held in place, one place per step equals the whole sequence per step."""
    ids = torch.randint(CODES, (4, PLACES + 1), generator=seeded(4))
    known = torch.rand(4, PLACES + 1, generator=seeded(5)) < 0.5
    known[0], known[1] = False, True
    noise = noise_for(4).second
    drawn = refine_pass(net, ids, known, texts(), places=PLACES, scale=scale, noise=noise)
    slow = ids.clone()
    for place in range(PLACES):
        logits = net.guided(slow, texts(), scale, known)[:, place, :CODES]
        slow[:, place] = torch.where(known[:, place], ids[:, place], pick(logits, noise[:, place])[0])
    assert torch.equal(drawn.ids, slow)
    assert torch.equal(drawn.ids[known], ids[known])
    assert (drawn.ids[:, :PLACES] < CODES).all()


@torch.no_grad()
def test_what_stands_at_unknown_places_does_not_matter(net):
    ids = torch.randint(CODES, (4, PLACES + 1), generator=seeded(4))
    known = torch.rand(4, PLACES + 1, generator=seeded(5)) < 0.5
    other = torch.where(known, ids, (ids + 3) % CODES)
    runs = [refine_pass(net, x, known, texts(), places=PLACES + 1, scale=3.0) for x in (ids, other)]
    assert torch.equal(runs[0].ids, runs[1].ids)


def test_picking_follows_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    rows = logits.expand(20_000, 3)
    noise = torch.empty(20_000, 3).exponential_(generator=seeded())
    share = torch.bincount(pick(rows, noise)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, logits[0].softmax(0), atol=0.012, rtol=0)
    hot = torch.bincount(pick(rows, noise, 100.0)[0], minlength=3) / 20_000
    torch.testing.assert_close(hot, torch.full((3,), 1 / 3), atol=0.015, rtol=0)
    assert (pick(rows, noise, 0.0)[0] == 2).all()
    torch.testing.assert_close(pick(logits, None)[1], logits.softmax(-1)[:, 2])


def test_the_end_is_found_and_placed():
    ids = torch.tensor([[1, 12, 3, 4, 9], [12, 0, 0, 0, 9], [1, 2, 3, 4, 9]])
    lengths = find_end(ids[:, :4], 12)
    assert lengths.tolist() == [1, 1, 4]
    assert with_end(ids, lengths, 12).tolist() == [[1, 12, 13, 13, 13], [12, 12, 13, 13, 13], [1, 2, 3, 4, 12]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, PLACES), min_size=1, max_size=4), st.floats(0.05, 1), st.integers(0, 100))
def test_renews_the_least_sure_and_nothing_beyond_the_end(sizes, share, seed):
    lengths = torch.tensor(sizes)
    scores = torch.rand(len(sizes), PLACES + 1, generator=seeded(seed))
    again = renewed(lengths, scores, share)
    for row, length in enumerate(sizes):
        assert not again[row, length:].any()
        chosen, kept = scores[row, :length][again[row, :length]], scores[row, :length][~again[row, :length]]
        assert len(chosen) == max(1, round(float(torch.tensor(length) * share)))
        assert not len(kept) or chosen.max() <= kept.min()
    assert torch.equal(renewed_tied(lengths, PLACES + 1, share).sum(1), again.sum(1))


def test_equal_scores_are_taken_from_the_left():
    assert renewed(torch.tensor([5]), torch.zeros(1, 6), 0.5).tolist() == [[True, True, False, False, False, False]]


@torch.no_grad()
def test_given_lengths_are_kept_and_end_nowhere_else(net):
    lengths = torch.tensor([3, 9, 1, 6])
    out = generate_ids(net, texts(), lengths, published.options(SamplingOptions), noise_for(4))
    assert torch.equal(out.lengths, lengths)
    assert torch.equal(find_end(out.ids, net.end_id), lengths)
    assert torch.equal(out.ids == net.end_id, F.one_hot(lengths, PLACES + 1).bool())


@torch.no_grad()
def test_a_clip_does_not_depend_on_its_neighbours(net):
    lengths = torch.tensor([3, 9, 1, 6])
    whole = generate_ids(net, texts(), lengths, published.options(SamplingOptions), noise_for(4))
    noise = noise_for(4)
    one = Noise(noise.first[3:], noise.second[3:], noise.scores[3:])
    alone = generate_ids(net, texts()[3:], lengths[3:], published.options(SamplingOptions), one)
    assert torch.equal(alone.ids[0, :7], whole.ids[3, :7])


@torch.no_grad()
def test_the_model_ends_clips_but_not_before_the_shortest():
    net = network()
    net.output_process.poseFinal.bias[CODES] = 50.0
    out = generate_ids(net, texts(), None, published.options(SamplingOptions), noise_for(4))
    assert out.lengths.tolist() == [1] * 4
    out = generate_ids(net, texts(), None, published.options(SamplingOptions), noise_for(4), earliest=4)
    assert out.lengths.tolist() == [4] * 4
    assert (out.ids[:, :4] < CODES).all()
    net.output_process.poseFinal.bias[CODES] = -50.0
    assert (
        generate_ids(net, texts(), None, published.options(SamplingOptions), noise_for(4)).lengths.tolist()
        == [PLACES] * 4
    )


@torch.no_grad()
def test_passes_shares_and_rankings(net, monkeypatch):
    lengths, noise = torch.tensor([8, 4, 9, 2]), noise_for(4)
    single = generate_ids(net, texts(), lengths, published.options(SamplingOptions), noise, passes=1)
    none = generate_ids(net, texts(), lengths, published.options(SamplingOptions, refine_share=0.0), noise)
    assert torch.equal(single.ids, none.ids)
    seen, shown = {}, []
    monkeypatch.setattr(generation, "refine_pass", lambda *a, **k: shown.append(a[2]) or refine_pass(*a, **k))
    generate_ids(net, texts(), lengths, published.options(SamplingOptions), noise, passes=1)
    assert not shown
    for ranking in ("confidence", "random", "tied"):
        out = generate_ids(net, texts(), lengths, published.options(SamplingOptions, ranking=ranking), noise)
        known = shown.pop()
        again = ~known & (torch.arange(PLACES + 1) < lengths[:, None])
        assert again.sum(1).tolist() == [4, 2, 4, 1]
        assert torch.equal(out.ids[known], single.ids[known])
        seen[ranking] = again
    assert not torch.equal(seen["confidence"], seen["random"])


@torch.no_grad()
def test_the_second_scale_may_follow_the_first(net):
    lengths, noise = torch.tensor([8, 8, 8, 8]), noise_for(4)
    follow = generate_ids(
        net, texts(), lengths, published.options(SamplingOptions, guidance=9.0, refine_guidance=None), noise
    )
    same = generate_ids(
        net, texts(), lengths, published.options(SamplingOptions, refine_guidance=9.0), noise, guidance=9.0
    )
    fixed = generate_ids(net, texts(), lengths, published.options(SamplingOptions, guidance=9.0), noise)
    assert torch.equal(follow.ids, same.ids)
    assert not torch.equal(follow.ids, fixed.ids)


def test_refuses_unknown_rankings():
    with pytest.raises(ConfigError, match="confidence, random or tied"):
        published.options(SamplingOptions, ranking="best")
    with pytest.raises(ConfigError, match="refine_share=2"):
        published.options(SamplingOptions, refine_share=2)
