from __future__ import annotations

import math

import pytest
import torch

from hmu.backbones.base import MotionBackbone, State
from hmu.backbones.draws import Draws
from hmu.backbones.momask.masked import chosen_positions, mask_tokens
from hmu.backbones.tokens import objectives
from hmu.data.batch import length_mask
from hmu.errors import ConfigError
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.base import Side
from hmu.methods.edit import DeltaEdit
from hmu.methods.teacher import predict_jointly, teacher_of
from tests.methods.make import esd, lora

from .conftest import motions, seeded, tiny

PARTS = {"masked": ("masked",), "residual": ("residual",), "both": ("masked", "residual")}


def side(model, lengths=(40, 24)) -> Side:
    batch = motions(list(lengths))
    with torch.no_grad():
        return Side(model.encode_target(batch), model.encode_text(batch.texts))


def test_is_a_backbone(model):
    assert isinstance(model, MotionBackbone)
    assert model.stages == ("rvq", "masked", "residual", "length")
    assert [model.stage_window(stage) for stage in model.stages] == [64, None, None, None]
    assert model.unit_length == 4


# -- target and states -------------------------------------------------------------------------------------
def test_target_is_that_of_the_clip_alone(model):
    batch = motions([40, 24, 32])
    model.train()
    ids = model.encode_codes(batch)
    assert torch.equal(ids, model.encode_target(batch).tensors["ids"])
    assert ids.shape == (3, 10, 3)
    assert (ids[1, 6:] == -1).all()
    alone = type(batch)(batch.motion[1:2, :24], batch.lengths[1:2], batch.captions[1:2], batch.ids[1:2])
    assert torch.equal(model.encode_codes(alone)[0], ids[1, :6])
    assert model.training


@pytest.mark.parametrize("unlearn", PARTS)
def test_states_are_masked_cut_and_follow_the_generator(unlearn):
    model = tiny(unlearn=unlearn)
    target = model.encode_target(motions([40, 24, 32])).select(torch.tensor([1, 2]))
    one, two = model.corrupt(target, seeded(5)), model.corrupt(target, seeded(5))
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, model.corrupt(target, seeded(6)).inputs)
    columns = {"masked": 1, "residual": 2, "both": 3}[unlearn]
    assert one.inputs.shape == (2, 8, columns)
    assert one.target.shape == (2, 8, len(PARTS[unlearn]))
    assert torch.equal(one.valid, length_mask(torch.tensor([6, 8]), 8))
    assert (one.target[0, 6:] == -1).all()
    ids = target.tensors["ids"]
    for part, name in enumerate(PARTS[unlearn]):
        asked = one.target[..., part] >= 0
        if name == "masked":
            assert torch.equal(one.target[..., part][asked], ids[:, :8, 0][asked])
        else:
            layer = (one.inputs[:, 0, -2:] >= 0).sum(-1)
            assert torch.equal(asked, one.valid)
            for row in (0, 1):
                count = int(one.valid[row].sum())
                assert torch.equal(one.target[row, :count, part], ids[row, :count, layer[row]])


def test_masking_counts_real_positions_only():
    """Ours masks the published share of the real tokens, the authors whatever falls on them."""
    valid = length_mask(torch.full((4000,), 4), 16)
    time, order = torch.rand(4000, generator=seeded()), torch.rand(4000, 16, generator=seeded(1))
    ours = chosen_positions(time, order, valid)
    theirs = chosen_positions(time, order, valid, "upstream")
    share = (torch.cos(time * math.pi / 2) * 4).round().clamp(min=1)
    assert torch.equal(ours.sum(1).float(), share)
    assert not ours[~valid].any()
    assert (theirs.sum(1) == 0).any()
    each = ours.float().mean(0)[:4]
    assert (each - each.mean()).abs().max() < 0.04  # every real position is as likely as any other


def test_chosen_positions_are_masked_randomised_or_left(model):
    ids, valid = torch.full((200, 20), 3), torch.ones(200, 20, dtype=torch.bool)
    _, inputs, answer = mask_tokens(model.masked, ids, valid, Draws(seeded()), model.variant)
    asked = answer >= 0
    assert (inputs[~asked] == 3).all()
    shares = [(inputs[asked] == model.masked.mask_id).float().mean(), (inputs[asked] == 3).float().mean()]
    assert abs(shares[0] - 0.9 * 0.88) < 0.03
    assert abs(shares[1] - (0.9 * 0.12 + 0.1 / 12)) < 0.03


def test_layers_are_drawn_as_published():
    layers = objectives.active_layers(torch.rand(20000, generator=seeded()), 6)
    shares = torch.bincount(layers, minlength=6) / 20000
    assert shares[0] == 0
    edges = torch.tensor([0, 0.5, 1.5, 2.5, 3.5, 4.0]) / 4  # of 1 - cos
    expected = (2 / math.pi * torch.acos(1 - edges)).diff()
    torch.testing.assert_close(shares[1:], expected, atol=0.02, rtol=0)


# -- predictions and distances -----------------------------------------------------------------------------
@pytest.mark.parametrize("unlearn", PARTS)
def test_distance_is_cross_entropy_or_divergence_per_item(unlearn):
    model = tiny(unlearn=unlearn)
    data = side(model)
    state = model.corrupt(data.target, seeded())
    logits = model.predict(state, data.condition)
    assert logits.shape == (2, 10, len(PARTS[unlearn]), 12)
    loss = model.distance(logits, state.target, state)
    expected = torch.zeros(2)
    for part in range(len(PARTS[unlearn])):
        for row in (0, 1):
            asked = state.target[row, :, part] >= 0
            picked = logits[row, asked, part].log_softmax(-1)
            one = -picked.gather(1, state.target[row, asked, part][:, None]).mean()
            expected[row] += one.detach() / len(PARTS[unlearn])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.loss(data.target, data.condition, seeded()), expected)
    torch.testing.assert_close(model.distance(logits, logits + 3.0, state), torch.zeros(2), atol=1e-6, rtol=0)
    assert (model.distance(logits, -logits, state) > 0).all()


def test_divergence_moves_the_prediction_to_the_answer():
    wanted, logits = torch.tensor([[[[2.0, 0.0, -1.0]]]]), torch.zeros(1, 1, 1, 3, requires_grad=True)
    state = State(torch.zeros(1, 1, 1), torch.zeros(1), torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1).bool())
    objectives.distance(logits, wanted, state.target).sum().backward()
    torch.testing.assert_close(-logits.grad[0, 0, 0], wanted[0, 0, 0].softmax(-1) - 1 / 3)


def test_answers_to_joined_states_are_those_of_each(model):
    sides = [side(model), side(model, (24, 16))]
    states = [model.corrupt(s.target, seeded(i)) for i, s in enumerate(sides)]
    joint = predict_jointly(model, [(state, s.condition) for state, s in zip(states, sides, strict=True)])
    for state, s, got in zip(states, sides, joint, strict=True):
        alone = model.predict(state, s.condition)
        torch.testing.assert_close(got[state.valid], alone[state.valid], atol=1e-5, rtol=1e-4)


# -- unlearning --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("unlearn", PARTS)
def test_adapters_on_every_projection_receive_gradient(unlearn):
    model = tiny(unlearn=unlearn)
    trained = adapters.inject(model, 2, 2.0, 0.0)
    assert len(trained) == 2 * 8 * len(PARTS[unlearn])
    with torch.no_grad():
        for name, parameter in trained.items():
            if name.endswith("lora_B"):
                parameter.normal_(generator=seeded())
    data = side(model)
    model.loss(data.target, data.condition, seeded()).mean().backward()
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("unlearn", PARTS)
@pytest.mark.parametrize("method", ["esd", "lora"])
def test_trained_methods_run(unlearn, method):
    model = tiny(unlearn=unlearn)
    model.text.requires_grad_(False)
    how = esd(steps=1, train="all") if method == "esd" else lora(steps=1, rank=2, forget="redirect")
    trained = how.setup(model)
    terms = how.loss(model, side(model), side(model, (32, 16)), seeded())
    terms["loss"].backward()
    assert torch.isfinite(terms["loss"])
    if method == "esd":
        silent = [n for n, p in trained.items() if p.grad is None or not p.grad.any()]
        assert silent == []


def test_a_teacher_has_networks_of_its_own(model):
    twin = teacher_of(model)
    assert twin.rvq is model.rvq
    data = side(model)
    state = model.corrupt(data.target, seeded())
    before = twin.predict(state, data.condition)
    with torch.no_grad():
        model.masked.cond_emb.weight.add_(1.0)
    assert torch.equal(before, twin.predict(state, data.condition))
    assert not torch.equal(before, model.predict(state, data.condition))


def test_codebook_rows_are_edited_by_name_and_reverted(model):
    texts, lengths = ["a person kicks"], torch.tensor([40])
    before = model.sample(texts, lengths, generator=seeded())
    books = model.codebooks()
    assert list(books) == [f"quantizer.layers.{q}.codebook" for q in range(3)]
    assert books["quantizer.layers.1.codebook"] is model.rvq.quantizer.layers[1].codebook
    edit = DeltaEdit({name: torch.ones_like(codes) for name, codes in books.items()})
    with applied(model, [(edit, 1.0)]):
        assert not torch.equal(before, model.sample(texts, lengths, generator=seeded()))
    assert torch.equal(before, model.sample(texts, lengths, generator=seeded()))
    assert list(model.codebook_noise()) == [n.replace("codebook", "code_noise") for n in books]
    assert len(tiny(rvq={"codes": 4, "code_dim": 8, "quantizers": 3, "width": 8, "shared": True}).codebooks()) == 1


@pytest.mark.parametrize("unlearn", PARTS)
def test_handles_name_what_is_treated(unlearn):
    model = tiny(unlearn=unlearn)
    modules, parameters = dict(model.network().named_modules()), dict(model.network().named_parameters())
    assert all(isinstance(modules[name], torch.nn.Linear) for name in model.adapter_targets)
    groups = model.parameter_groups()
    assert set(groups) == {"cross", "attention", "rest", "all", *PARTS[unlearn]}
    for names in groups.values():
        assert names
        assert set(names) <= set(parameters)
    assert sorted(groups["cross"] + groups["rest"]) == sorted(groups["all"])
    projections = model.text_projections()
    assert list(projections) == [f"{part}.cond_emb" for part in PARTS[unlearn]]
    condition = model.encode_text(["a person kicks", ""])
    inputs = model.projection_inputs(condition)
    assert inputs.keys() == projections.keys()
    assert all(torch.equal(x, condition.pooled) for x in inputs.values())


# -- stages ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stage", ["rvq", "masked", "residual", "length"])
def test_every_stage_reaches_all_its_weights_and_no_others(stage):
    model = tiny(rvq={"codes": 12, "code_dim": 8, "quantizers": 3, "width": 16, "depth": 2, "quantize_dropout": 0.0})
    model.train()
    parameters = list(model.stage_parameters(stage))
    batch = motions([40, 24, 32, 40])
    for seed in range(6):
        model.stage_loss(stage, batch, seeded(seed))["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in parameters)
    mine = {id(p) for p in parameters}
    assert [n for n, p in model.named_parameters() if id(p) not in mine and p.grad is not None] == []
    assert (id(model.text.words.weight) in mine) == (stage == "masked")


def test_only_the_tokenizers_stage_moves_codebooks_and_only_in_training(model):
    batch = motions([40, 24])
    before = {name: codes.clone() for name, codes in model.codebooks().items()}
    for mode, stages in ((True, ("masked", "residual", "length")), (False, model.stages)):
        model.train(mode)
        for stage in stages:
            model.stage_loss(stage, batch, seeded())
    assert all(torch.equal(codes, before[name]) for name, codes in model.codebooks().items())
    model.train()
    model.stage_loss("rvq", batch, seeded())
    assert not all(torch.equal(codes, before[name]) for name, codes in model.codebooks().items())


def test_transformers_are_not_trained_on_empty_codebooks():
    model = tiny(fill=False)
    model.prepare_stage("rvq", [])
    with pytest.raises(ConfigError, match="train stage=rvq first"):
        model.prepare_stage("masked", [])


def test_stages_learn():
    model, batch = tiny().train(), motions([40, 40])
    for stage in ("rvq", "masked", "residual"):
        optimizer = torch.optim.AdamW(model.stage_parameters(stage), 1e-2)
        losses = []
        for step in range(24):
            loss = model.stage_loss(stage, batch, seeded(step % 4))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert sum(losses[-4:]) < 0.9 * sum(losses[:4]), stage


def test_loss_of_the_published_objective_is_over_all_asked_positions(model):
    logits, answer = torch.randn(2, 3, 4, generator=seeded()), torch.tensor([[1, -1, 2], [-1, -1, 0]])
    expected = torch.nn.functional.cross_entropy(logits[answer >= 0], answer[answer >= 0])
    torch.testing.assert_close(objectives.token_terms(logits, answer)["loss"], expected)
    right = torch.nn.functional.one_hot(answer.clamp_min(0), 4).float()
    assert objectives.token_terms(right, answer)["accuracy"] == 1
    assert objectives.token_terms(1 - right, answer)["accuracy"] == 0


def test_a_missing_estimator_can_be_trained(model):
    model.length = None
    assert list(model.stage_parameters("length"))
    assert model.length is not None


def test_unknown_stages_and_choices_are_refused(model):
    with pytest.raises(ConfigError, match="stages rvq, masked, residual, length"):
        model.stage_window("vae")
    with pytest.raises(ConfigError, match="unlearn=all"):
        tiny(unlearn="all")
    with pytest.raises(ConfigError, match="variant=mine"):
        tiny(variant="mine")
    with pytest.raises(ConfigError, match="unknown key typo"):
        tiny(rvq={"typo": 1})
    with pytest.raises(ConfigError, match="quantizers"):
        tiny(rvq={"quantizers": 1})
    with pytest.raises(ConfigError, match="classes"):
        tiny(length={"classes": 20})


# -- text --------------------------------------------------------------------------------------------------
def test_empty_prompt_is_the_zero_vector(model):
    condition = model.encode_text(["a person kicks", "", " "])
    assert condition.pooled[0].any()
    assert not condition.pooled[1:].any()
    assert condition.tokens.shape == (3, 1, 16)
    assert not tiny(text=None, text_width=8).encode_text([""]).pooled.any()
    with pytest.raises(ConfigError, match="no text encoder"):
        tiny(text=None, text_width=8).encode_text(["a"])


def test_frozen_prompts_are_encoded_once_and_trained_ones_every_time(model, monkeypatch):
    calls, encode = [], model.text.encode
    monkeypatch.setattr(model.text, "encode", lambda texts: calls.append(list(texts)) or encode(texts))
    assert model.encode_text(["a"]).pooled.requires_grad
    model.encode_text(["a"])
    list(model.stage_parameters("residual"))
    one, two = model.encode_text(["a", "a person"]), model.encode_text(["a person", "a"])
    assert calls == [["a"], ["a"], ["a", "a person"]]
    assert torch.equal(one.pooled, two.pooled.flip(0))
    assert not one.pooled.requires_grad


def test_encoders_of_another_width_are_refused(model):
    from hmu.backbones.tokens.vectors import vector_of
    from hmu.text.base import TextCondition

    with pytest.raises(ConfigError, match=r"text\.output=pooled"):
        vector_of(TextCondition(torch.zeros(1, 3, 16), torch.ones(1, 3)), 16)
    with pytest.raises(ConfigError, match="width 8"):
        vector_of(TextCondition(torch.zeros(1, 3, 16), torch.ones(1, 3), torch.zeros(1, 8)), 16)


# -- statistics --------------------------------------------------------------------------------------------
def test_statistics_weigh_root_and_contacts(model):
    model.prepare(torch.full((263,), 2.0), torch.full((263,), 3.0))
    assert model.statistics.std[:4].tolist() == pytest.approx([0.6] * 4)
    assert model.statistics.std[-4:].tolist() == pytest.approx([0.6] * 4)
    assert (model.statistics.std[4:-4] == 3).all()
    batch = motions([16, 12])
    normal = model.statistics.normalise(batch.motion, batch.lengths)
    assert not normal[1, 12:].any()
    torch.testing.assert_close(model.statistics.denormalise(normal, batch.lengths), batch.motion, atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="std > 0"):
        model.statistics.assign(torch.zeros(263), torch.zeros(263))
    with pytest.raises(ConfigError, match=r"expected \(263,\)"):
        model.statistics.assign(torch.zeros(251), torch.ones(251))
