from __future__ import annotations

import pytest
import torch

from hmu.backbones.momask.masked import decode_base, masked_shares
from hmu.backbones.tokens.generation import token_spans
from hmu.backbones.tokens.sampling import ClipStreams, decode_residual, kept_classes, top_draw
from hmu.data.batch import length_mask
from hmu.errors import ConfigError

from .conftest import motions, seeded, tiny

TEXTS, LENGTHS = ["a person kicks", "a person waves", "a person walks slowly"], torch.tensor([40, 24, 32])


def greedy(logits):
    return logits.argmax(-1)


def test_share_of_classes_is_rounded_up_as_published():
    assert [kept_classes(n, 0.9) for n in (512, 513, 24, 25, 3)] == [52, 52, 3, 3, 1]
    assert kept_classes(24, 0.0) == 24


def test_schedule_is_single_precision():
    """At 10 steps the seventh share lies just below a half, so that a length of 3 masks one token, not two."""
    shares = masked_shares(10, torch.device("cpu"))
    assert shares.dtype == torch.float32
    assert shares[6] < 0.5
    assert int((shares[6] * 3).round()) == 1
    assert shares[0] == 1


def test_decoding_masks_fewer_tokens_at_every_step_and_fills_all(model, monkeypatch):
    tokens = torch.tensor([10, 6])
    valid, seen = length_mask(tokens, 10), []
    text = torch.randn(2, 16, generator=seeded())

    guided = model.masked.guided

    def watched(ids, *rest):
        seen.append((ids == model.masked.mask_id).sum(1).tolist())
        return guided(ids, *rest)

    monkeypatch.setattr(model.masked, "guided", watched)
    start = torch.zeros(2, 10, dtype=torch.long)
    ids = decode_base(model.masked, start, text, valid, greedy, steps=5, scale=2.0)
    assert seen[0] == [10, 6]
    assert [sum(s) for s in seen] == sorted((sum(s) for s in seen), reverse=True)
    assert seen[-1] == [1, 1]
    assert (ids[valid] >= 0).all()
    assert (ids[valid] < 12).all()
    assert (ids[~valid] == -1).all()


def test_residual_codes_are_codes_unless_the_authors_padding_is_wanted(model):
    valid = length_mask(torch.tensor([6, 4]), 6)
    with torch.no_grad():  # make the padding class win everywhere
        model.residual.embed_proj_shared_weight[:, 12] += 50
        model.residual.output_proj_weight_[:, 12] += 50
    base, text = torch.zeros(2, 6, dtype=torch.long), torch.randn(2, 16)
    ours = decode_residual(model.residual, base, text, valid, greedy, scale=1.0)
    assert (ours[valid] >= 0).all()
    assert (ours[~valid] == -1).all()
    theirs = decode_residual(model.residual, base, text, valid, greedy, scale=1.0, padding=True)
    assert theirs.shape == ours.shape == (2, 6, 3)
    assert theirs[valid].max() <= 11


def test_streams_belong_to_clips():
    one, two = ClipStreams(torch.tensor([3, 5]), seeded(1)), ClipStreams(torch.tensor([3, 2]), seeded(1))
    a, b = one.uniform(5, 4), two.uniform(3, 4)
    assert torch.equal(a[0, :3], b[0])
    assert not torch.equal(a[0, :3], one.uniform(5, 4)[0, :3])


def test_draws_follow_the_filtered_softmax():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).expand(1, 4000, 4)
    drawn = top_draw(0.5, 2.0, ClipStreams(torch.tensor([4000]), seeded()))(logits)
    shares = torch.bincount(drawn[0], minlength=4) / 4000
    expected = torch.tensor([1.0, 0.5]).softmax(0)
    torch.testing.assert_close(shares, torch.cat([expected, torch.zeros(2)]), atol=0.03, rtol=0)
    assert not top_draw(0.0, 0.0, ClipStreams(torch.tensor([4000])))(logits).any()


# -- whole generation --------------------------------------------------------------------------------------
def test_motions_are_deterministic_masked_and_in_real_units(model):
    one, two = (model.sample(TEXTS, LENGTHS, generator=seeded(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (3, 40, 263)
    assert not one[1, 24:].any()
    assert one[1, :24].any(1).all()
    assert not torch.equal(one, model.sample(TEXTS, LENGTHS, generator=seeded(4)))
    model.statistics.mean.add_(100.0)
    shifted = model.sample(TEXTS, LENGTHS, generator=seeded(3))
    torch.testing.assert_close(shifted[0], one[0] + 100.0, atol=1e-3, rtol=1e-4)


def test_a_motion_does_not_depend_on_its_batch(model):
    many = model.sample(TEXTS, LENGTHS, generator=seeded(3))
    alone = model.sample(TEXTS[:1], LENGTHS[:1], generator=seeded(3))
    torch.testing.assert_close(many[0], alone[0], atol=1e-4, rtol=1e-4)
    shorter = model.sample(TEXTS, torch.tensor([40, 40, 32]), generator=seeded(3))
    torch.testing.assert_close(many[2], shorter[2], atol=1e-4, rtol=1e-4)


def test_guidance_branches_share_each_forward_and_texts_are_encoded_once(model, monkeypatch):
    model.text.requires_grad_(False)
    rows, encoded = [], []
    forward, encode = model.masked.features, model.text.encode
    monkeypatch.setattr(
        model.masked, "features", lambda ids, text, *a: rows.append(len(text)) or forward(ids, text, *a)
    )
    monkeypatch.setattr(model.text, "encode", lambda texts: encoded.append(list(texts)) or encode(texts))
    model.sample(TEXTS, LENGTHS, steps=4)
    model.sample([*TEXTS[:2], ""], LENGTHS, guidance=1.0, steps=2)
    assert rows == [6] * 4 + [3] * 2
    assert encoded == [TEXTS]


def test_guidance_zero_ignores_the_text(model):
    one = model.sample(TEXTS, LENGTHS, guidance=0, generator=seeded())
    two = model.sample(["", "", ""], LENGTHS, guidance=0, generator=seeded())
    assert torch.equal(one, two)
    assert not torch.equal(one, model.sample(TEXTS, LENGTHS, generator=seeded()))


def test_refuses_impossible_requests(model):
    with pytest.raises(ConfigError, match="multiples of 4"):
        model.sample(TEXTS, torch.tensor([40, 25, 32]))
    with pytest.raises(ConfigError, match="positions for 256 frames"):
        model.sample(TEXTS, torch.tensor([40, 24, 260]))
    with pytest.raises(ConfigError, match="2 prompts, 3 lengths"):
        model.sample(TEXTS[:2], LENGTHS)
    with pytest.raises(ConfigError, match="steps=0"):
        tiny(sampling={"steps": 0})


def test_modes_are_restored(model):
    model.train()
    model.sample(TEXTS, LENGTHS)
    assert model.rvq.training
    assert model.masked.training


# -- editing -----------------------------------------------------------------------------------------------
def test_inpainting_changes_the_marked_tokens_only(model, monkeypatch):
    batch = motions([40, 24, 32])
    known = model.encode_codes(batch)
    results = []
    decode = model.rvq.decode
    monkeypatch.setattr(model.rvq, "decode", lambda ids, *a: results.append(ids) or decode(ids, *a))
    edited = model.inpaint(batch.motion, batch.lengths, [(9, 18)], ["a person kicks"], generator=seeded())
    assert edited.shape == (3, 40, 263)
    kept = torch.ones(10, dtype=torch.bool)
    kept[2:5] = False  # frames 9 to 17 touch tokens 2, 3 and 4
    assert torch.equal(results[0][:, kept], known[:, kept])
    assert not torch.equal(results[0][:, ~kept], known[:, ~kept])
    again = model.inpaint(batch.motion, batch.lengths, [(9, 18)], ["a person kicks"], generator=seeded())
    assert torch.equal(edited, again)


def test_a_clip_without_marked_tokens_stays(model):
    tokens, valid = torch.tensor([[3, 4, 5], [6, -1, -1]]), length_mask(torch.tensor([3, 1]), 3)
    marked = torch.tensor([[False, True, False], [False, True, True]])
    arguments = (model.masked, tokens, torch.randn(2, 16), valid, greedy)
    ids = decode_base(*arguments, steps=3, scale=1.0, editable=marked)
    assert ids[1].tolist() == [6, -1, -1]
    theirs = decode_base(*arguments, steps=3, scale=1.0, editable=marked, variant="upstream")
    assert theirs[0].tolist() == ids[0].tolist()


def test_spans_grow_to_whole_tokens_and_are_checked():
    lengths = torch.tensor([16, 8])
    marked = token_spans([(3, 5), (12, 13)], lengths, 4, lengths.device)
    assert marked.tolist() == [[True, True, False, True]] * 2
    flags = torch.zeros(2, 16, dtype=torch.bool)
    flags[1, 7] = True
    assert token_spans(flags, lengths, 4, lengths.device).tolist() == [[False] * 4, [False, True, False, False]]
    with pytest.raises(ConfigError, match="no span"):
        token_spans([(5, 5)], lengths, 4, lengths.device)
    with pytest.raises(ConfigError, match="one flag per frame"):
        token_spans(flags[:1], lengths, 4, lengths.device)


# -- lengths -----------------------------------------------------------------------------------------------
def test_estimated_lengths_can_be_generated(model):
    lengths = model.estimate_lengths(TEXTS, seeded())
    assert ((lengths >= 40) & (lengths <= 196) & (lengths % 4 == 0)).all()
    assert torch.equal(lengths, model.estimate_lengths(TEXTS, seeded()))
    model.length = None
    with pytest.raises(ConfigError, match="stage=length"):
        model.estimate_lengths(TEXTS)
