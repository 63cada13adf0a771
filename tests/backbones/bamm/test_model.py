from __future__ import annotations

import pytest
import torch
from torch import nn

from hmu.backbones.base import MotionBackbone, State
from hmu.backbones.tokens.objectives import cross_entropy
from hmu.data.batch import length_mask
from hmu.errors import ConfigError
from hmu.methods.teacher import teacher_of

from .conftest import CODES, SIZES, motions, seeded, tiny

BOTH = ["masked", "residual", "both"]


def test_is_a_backbone(model):
    assert isinstance(model, MotionBackbone)
    assert (model.name, model.stages) == ("bamm", ("rvq", "masked", "residual"))
    assert model.unit_length == 4
    with pytest.raises(ConfigError, match="bamm has the stages rvq, masked, residual"):
        model.stage_window("length")


# -- training target -------------------------------------------------------------------------------
@pytest.mark.parametrize("unlearn", BOTH)
def test_a_state_asks_for_every_token_and_the_end(unlearn):
    model = tiny(unlearn=unlearn)
    target = model.encode_target(motions([40, 24, 8]))
    ids, tokens = target.tensors["ids"], torch.tensor([10, 6, 2])
    state = model.corrupt(target, seeded(1))
    if unlearn == "residual":
        assert state.inputs.shape == (3, 10, 2)
        assert torch.equal(state.valid, length_mask(tokens, 10))
        return
    assert state.inputs.shape == (3, 11, {"masked": 2, "both": 4}[unlearn])
    assert torch.equal(state.valid, length_mask(tokens + 1, 11))
    asked = state.target[..., 0]
    assert torch.equal(asked >= 0, state.valid)
    assert torch.equal(asked.gather(1, tokens[:, None])[:, 0], torch.full((3,), CODES))
    inside = length_mask(tokens, 10)
    assert torch.equal(asked[:, :10][inside], ids[..., 0][inside])
    if unlearn == "both":
        layer = (state.inputs[:, 0, 2:] >= 0).sum(1)
        expected = ids.gather(2, layer[:, None, None].expand(-1, 10, 1))[..., 0]
        assert torch.equal(state.target[:, :10, 1], torch.where(inside, expected, -1))
        assert (state.target[:, 10, 1] == -1).all()


def test_a_padded_target_asks_the_same(model):
    """Zeros that a cache appends to shorter clips are not mistaken for tokens."""
    target = model.encode_target(motions([40, 24])).select(torch.tensor([1]))
    state = model.corrupt(target, seeded(1))
    alone = model.corrupt(model.encode_target(motions([40, 24])).select(torch.tensor([1])), seeded(1))
    assert state.inputs.shape[1] == 7
    assert torch.equal(state.inputs, alone.inputs)
    assert state.target[0, 6, 0] == CODES


@pytest.mark.parametrize("unlearn", BOTH)
def test_distance_is_minus_log_likelihood_or_divergence(unlearn):
    model = tiny(unlearn=unlearn)
    state = model.corrupt(model.encode_target(motions([40, 24])), seeded(1))
    logits = model.predict(state, model.encode_text(["a person kicks", "a person waves"]))
    assert logits.shape[:3] == state.target.shape
    expected = []
    for part in range(state.target.shape[2]):
        values = cross_entropy(logits[:, :, part], state.target[:, :, part])
        expected.append(values.sum(1) / (state.target[:, :, part] >= 0).sum(1))
    torch.testing.assert_close(model.distance(logits, state.target, state), torch.stack(expected, 1).mean(1))
    torch.testing.assert_close(model.distance(logits, logits, state), torch.zeros(2), atol=1e-6, rtol=0)
    other = model.predict(state, model.encode_text([""]))
    gap = model.distance(logits, other + 2 * (other - logits), state)
    assert torch.isfinite(gap).all()
    assert (gap > 0).all()


def test_the_residual_part_never_answers_the_end(model):
    state = model.corrupt(model.encode_target(motions([40, 24])), seeded(1))
    logits = model.predict(state, model.encode_text(["a person kicks"]))
    assert (logits[:, :, 1].softmax(-1)[..., CODES] == 0).all()
    assert (logits[:, :, 0].softmax(-1)[..., CODES] > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("unlearn", BOTH)
def test_neighbours_in_a_batch_change_no_answer(unlearn):
    model = tiny(unlearn=unlearn)
    state = model.corrupt(model.encode_target(motions([40, 24])), seeded(1))
    condition = model.encode_text(["a person kicks", "a person waves"])
    whole = model.predict(state, condition)
    places = int(state.valid[1].sum())
    one = State(state.inputs[1:, :places], state.time[1:], state.target[1:, :places], state.valid[1:, :places])
    alone = model.predict(one, condition.select([1]))
    torch.testing.assert_close(whole[1:, :places], alone, atol=1e-4, rtol=1e-4)


def test_the_teacher_is_a_frozen_twin(model):
    twin = teacher_of(model)
    assert twin.masked is not model.masked
    assert twin.rvq.encoder is model.rvq.encoder
    state = model.corrupt(model.encode_target(motions([40])), seeded(1))
    condition = model.encode_text(["a person kicks"])
    assert torch.equal(twin.predict(state, condition), model.predict(state, condition))


# -- training --------------------------------------------------------------------------------------
def test_the_loss_is_averaged_per_clip_then_over_clips(model):
    batch = motions([40, 8])
    model.masked.options = type(model.masked.options)(**{**vars(model.masked.options), "cond_drop": 0.0})
    loss = model.stage_loss("masked", batch, seeded(3))["loss"]
    state = tiny_state(model, batch)
    logits = model.masked(state.inputs[..., 0], model.vectors(batch.texts), state.inputs[..., 1].bool())[:, :-1]
    values = cross_entropy(logits, state.target[..., 0])
    torch.testing.assert_close(loss, (values.sum(1) / torch.tensor([11.0, 3.0])).mean())


def tiny_state(model, batch) -> State:
    return model.corrupt(model.encode_target(batch), seeded(3))


@pytest.mark.parametrize("stage", ["masked", "residual"])
def test_a_stage_trains_its_weights_and_nothing_else(model, stage):
    parameters = list(model.stage_parameters(stage))
    model.train()
    other = {"masked": model.residual, "residual": model.masked}[stage]
    model.stage_loss(stage, motions([40, 24]), seeded(1))["loss"].backward()
    assert all(p.grad is None for p in [*other.parameters(), *model.rvq.parameters()])
    own = {"masked": model.masked, "residual": model.residual}[stage]
    assert {id(p) for p in own.parameters()} <= {id(p) for p in parameters}
    assert any(p is q for p in parameters for q in model.text.parameters()) == (stage == "masked")
    assert own.cond_emb.weight.grad.any()


def test_it_learns(model):
    batch = motions([24, 24])
    optimizer = torch.optim.AdamW(model.stage_parameters("masked"), 1e-2)
    losses = []
    for step in range(30):
        loss = model.stage_loss("masked", batch, seeded(step % 3))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])


# -- generation ------------------------------------------------------------------------------------
@pytest.mark.parametrize("variant", ["default", "upstream"])
@pytest.mark.parametrize("blocks", ["official", "t2mgpt"])
def test_generates_given_lengths(variant, blocks):
    model = tiny(variant=variant, masked={**SIZES, "max_tokens": 12, "blocks": blocks})
    lengths = torch.tensor([40, 24, 8])
    motion = model.sample(["a person kicks", "a person walks", ""], lengths, generator=seeded(4))
    assert motion.shape == (3, 40, 263)
    assert torch.isfinite(motion).all()
    assert not motion[1, 24:].any()
    assert motion[2, 7].any()
    again = model.sample(["a person kicks", "a person walks", ""], lengths, generator=seeded(4))
    assert torch.equal(motion, again)
    assert not torch.equal(motion, model.sample(["a", "a", ""], lengths, generator=seeded(5)))


def test_a_clip_does_not_depend_on_the_batch(model):
    lengths = torch.tensor([40, 24])
    both = model.sample(["a person kicks", "a person walks"], lengths, generator=seeded(4))
    one = model.sample(["a person kicks"], lengths[:1], generator=seeded(4))
    torch.testing.assert_close(both[:1], one, atol=1e-4, rtol=1e-4)


def test_ends_motions_itself(model):
    texts = ["a person kicks", "a person walks", "a person waves", "a"]
    motion, lengths = model.generate(texts, generator=seeded(4))
    assert motion.shape == (4, int(lengths.max()), 263)
    assert ((lengths >= 8) & (lengths <= 48) & (lengths % 4 == 0)).all()
    assert torch.equal(lengths, model.estimate_lengths(texts, seeded(4)))
    assert torch.equal(motion, model.sample(texts, None, generator=seeded(4)))
    greedy = [model.estimate_lengths(texts, seeded(n), greedy=True) for n in (1, 9)]
    assert torch.equal(*greedy)
    with torch.no_grad():
        model.masked.output_process.poseFinal.bias[CODES] = 60.0
    assert model.generate(texts)[1].tolist() == [8] * 4


def test_scale_zero_ignores_the_text_and_one_pass_is_allowed(model):
    lengths = torch.tensor([40])
    runs = [model.sample([t], lengths, guidance=0, generator=seeded(4)) for t in ("a person kicks", "a person waves")]
    assert torch.equal(*runs)
    one, two = (model.sample(["a"], lengths, generator=seeded(4), steps=n) for n in (1, 2))
    assert not torch.equal(one, two)
    assert torch.equal(two, model.sample(["a"], lengths, generator=seeded(4)))
    with pytest.raises(ConfigError, match="steps=10"):
        model.sample(["a"], lengths, steps=10)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [([10], "multiples of 4"), ([0], "multiples of 4"), ([52], "positions for 48"), ([8, 8, 8], "2 prompts")],
)
def test_refuses_impossible_lengths(model, lengths, words):
    with pytest.raises(ConfigError, match=words):
        model.sample(["a", "person"], torch.tensor(lengths))


@pytest.mark.parametrize("variant", ["default", "upstream"])
def test_inpainting_keeps_the_tokens_outside_the_span(variant):
    model = tiny(variant=variant)
    batch = motions([40, 24])
    known = model.encode_target(batch).tensors["ids"]
    seen = []
    model.rvq.decode = lambda ids, *rest: seen.append(ids) or torch.zeros(2, 40, 263)
    model.inpaint(batch.motion, batch.lengths, [(9, 17)], ["a person kicks"], generator=seeded(6))
    layers = slice(0, 3) if variant == "default" else slice(0, 1)
    outside = torch.tensor([True] * 2 + [False] * 3 + [True] * 5)
    assert torch.equal(seen[0][:, outside, layers][0], known[:, outside, layers][0])
    assert torch.equal(seen[0][1, 6:], torch.full((4, 3), -1))


def test_editing_listens_to_the_text_by_default_only():
    batch = motions([40])
    for variant, same in (("default", False), ("upstream", True)):
        model, ids = tiny(variant=variant), []
        model.rvq.decode = lambda x, *rest, into=ids: into.append(x[..., 0]) or torch.zeros(1, 40, 263)
        for text in ("a person kicks", "a person waves"):
            model.inpaint(batch.motion, batch.lengths, [(0, 40)], [text], generator=seeded(6), guidance=5.0)
        assert torch.equal(*ids) == same


# -- handles ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("blocks", ["official", "t2mgpt"])
@pytest.mark.parametrize("unlearn", BOTH)
def test_handles_name_what_exists(unlearn, blocks):
    model = tiny(unlearn=unlearn, masked={**SIZES, "max_tokens": 12, "blocks": blocks})
    modules, names = dict(model.network().named_modules()), dict(model.network().named_parameters())
    parts = 2 if unlearn == "both" else 1
    assert len(model.adapter_targets) == parts * 2 * 4
    assert all(type(modules[name]) is nn.Linear for name in model.adapter_targets)
    groups = model.parameter_groups()
    assert all(members and set(members) <= set(names) for members in groups.values())
    assert len(groups["attention"]) == parts * 2 * 4 * 2
    assert set(model.text_projections()) == {f"{part}.cond_emb" for part in model.parts}
    inputs = model.projection_inputs(model.encode_text(["a person kicks", ""]))
    assert all(rows.shape == (2, 16) and not rows[1].any() for rows in inputs.values())
    assert [codes.shape for codes in model.codebooks().values()] == [(CODES, 8)] * 3
    assert len(model.codebook_noise()) == 3


def test_every_adapter_target_gets_a_gradient(model):
    state = model.corrupt(model.encode_target(motions([40, 24, 32, 16])), seeded(1))
    answer = model.predict(state, model.encode_text(["a person kicks"]))
    model.distance(answer, state.target, state).sum().backward()
    modules = dict(model.network().named_modules())
    assert all(modules[name].weight.grad.any() for name in model.adapter_targets)


def test_codes_are_those_of_the_tokenizer(model):
    batch = motions([40, 24])
    codes = model.encode_codes(batch)
    assert codes.shape == (2, 10, 3)
    assert (codes[1, 6:] == -1).all()
    assert torch.equal(codes, model.encode_target(batch).tensors["ids"])


def test_refuses_unknown_options_and_too_long_clips():
    with pytest.raises(ConfigError, match=r"backbone.masked: unknown key typo"):
        tiny(masked={"typo": 1})
    with pytest.raises(ConfigError, match="max_tokens is 12"):
        tiny(max_frames=52)
    with pytest.raises(ConfigError, match="expected one of masked, residual, both"):
        tiny(unlearn="all")
