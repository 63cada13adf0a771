"""ESD, LoRA, finetune: the formulas, who gets gradient, what the teacher is asked."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from hmu.errors import ConfigError
from hmu.methods import adapters
from hmu.methods.base import Side
from hmu.methods.lora import hinge, npo
from hmu.methods.teacher import concat_states, drop_condition, erase_target, predict_jointly, teacher_of
from tests.methods.make import esd, finetune, lora

from .fake import FakeBackbone, FakeClips


def side(backbone: FakeBackbone, verb: str, count: int = 4) -> Side:
    clips = FakeClips([verb], count, seed=len(verb))
    batch = clips.batch(range(count))
    return Side(backbone.encode_target(batch), backbone.encode_text(batch.texts))


def sides(backbone: FakeBackbone) -> tuple[Side, Side]:
    return side(backbone, "kicks"), side(backbone, "walks", 5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perturb(backbone: FakeBackbone) -> None:
    with torch.no_grad():
        for parameter in backbone.network().parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator(9))


# -- teacher ---------------------------------------------------------------------------------------------------------
def test_the_teacher_shares_everything_but_the_network():
    backbone = FakeBackbone()
    twin = teacher_of(backbone)
    assert twin.vae is backbone.vae
    assert twin._cache is backbone._cache
    assert twin.network() is not backbone.network()
    assert not any(p.requires_grad for p in twin.network().parameters())
    perturb(backbone)
    assert not torch.equal(twin.network().inp.weight, backbone.network().inp.weight)
    assert all(p.requires_grad for p in backbone.network().parameters())


def test_one_forward_answers_several_batches_of_different_lengths():
    backbone = FakeBackbone().eval()
    forget, retain = sides(backbone)
    short = dataclasses.replace(forget.target, tensors={"mean": forget.target.tensors["mean"][:, :2]})
    forget = Side(short, forget.condition)
    forget.target.lengths.clamp_(max=2)
    requests = [(backbone.corrupt(s.target, generator()), s.condition) for s in (forget, retain)]
    requests.append((requests[1][0], backbone.encode_text([""])))
    joint = predict_jointly(backbone, requests)
    assert backbone.forwards == [4 + 5 + 5]
    for together, request in zip(joint[:2], requests[:2], strict=True):
        torch.testing.assert_close(together, backbone.predict(*request))
    assert not concat_states([s for s, _ in requests]).valid[:4, 2:].any()


def test_captions_are_dropped_at_the_asked_rate():
    backbone = FakeBackbone()
    condition = backbone.encode_text(["a person quickly kicks"] * 2000)
    null = backbone.encode_text([""])
    mixed = drop_condition(condition, null, 0.25, generator())
    dropped = mixed.mask.sum(1) == null.mask.sum()
    assert 0.2 < dropped.float().mean() < 0.3
    torch.testing.assert_close(mixed.tokens[~dropped], condition.tokens[~dropped])
    assert drop_condition(condition, null, 0.0, generator()) is condition


# -- ESD -------------------------------------------------------------------------------------------------------------
def test_both_conventions_of_eta_are_one_apart():
    c, null = torch.randn(2, 3), torch.randn(2, 3)
    for eta in (0.0, 1.0, 2.5):
        other = c - (eta + 1) * (c - null)  # "1 is neutral, more repels"
        torch.testing.assert_close(erase_target(null, c, null, eta), other)
    assert torch.equal(erase_target(null, c, null, 0.0), null)
    torch.testing.assert_close(erase_target(null, c, null, -1.0), c)


@pytest.mark.parametrize("anchor", ["", "a person stands"])
@pytest.mark.parametrize("eta", [0.0, 1.5])
def test_esd_is_the_published_formula_with_a_frozen_teacher(anchor, eta):
    backbone = FakeBackbone()
    base = teacher_of(backbone)
    method = esd(steps=1, eta=eta, anchor=anchor, train="all", unconditional=0.0, preserve_weight=0.5)
    method.setup(backbone)
    perturb(backbone)
    forget, retain = sides(backbone)
    backbone.forwards.clear()
    terms = method.loss(backbone, forget, retain, generator())
    assert len(backbone.forwards) == 2  # one of the teacher, one of the student
    g = generator()
    noisy, kept = backbone.corrupt(forget.target, g), backbone.corrupt(retain.target, g)
    null = base.predict(noisy, backbone.encode_text([""]).expand(4))
    concept = base.predict(noisy, forget.condition)
    start = base.predict(noisy, backbone.encode_text([anchor]).expand(4))
    target = start - eta * (concept - null)
    erase = backbone.distance(backbone.predict(noisy, forget.condition), target, noisy).mean()
    preserve = backbone.distance(
        backbone.predict(kept, retain.condition), base.predict(kept, retain.condition), kept
    ).mean()
    torch.testing.assert_close(terms["erase"], erase.detach())
    torch.testing.assert_close(terms["preserve"], preserve.detach())
    torch.testing.assert_close(terms["loss"], erase + 0.5 * preserve)


def test_no_second_teacher_pass_where_the_anchor_is_empty():
    backbone = FakeBackbone()
    forget, retain = sides(backbone)
    for eta, anchor, rows in ((0.0, "", 4 + 5), (1.0, "", 8 + 5), (1.0, "a person stands", 12 + 5)):
        method = esd(steps=1, eta=eta, anchor=anchor, train="cross")
        method.setup(backbone)
        method.teacher.backbone.forwards = seen = []
        method.loss(backbone, forget, retain, generator())
        assert seen == [rows]


def test_preservation_can_hold_to_the_true_target_or_be_off():
    backbone = FakeBackbone()
    forget, retain = sides(backbone)
    method = esd(steps=1, train="all", preserve="target", unconditional=0.0)
    method.setup(backbone)
    terms = method.loss(backbone, forget, retain, generator())
    g = generator()
    backbone.corrupt(forget.target, g)
    kept = backbone.corrupt(retain.target, g)
    expected = backbone.distance(backbone.predict(kept, retain.condition), kept.target, kept).mean()
    torch.testing.assert_close(terms["preserve"], expected.detach())
    alone = esd(steps=1, train="all", preserve_weight=0.0)
    alone.setup(backbone)
    assert set(alone.loss(backbone, forget, retain, generator())) == {"loss", "erase"}


@pytest.mark.parametrize("group", ["cross", "cross_kv", "rest", "all"])
def test_exactly_the_chosen_weights_train(group):
    backbone = FakeBackbone()
    method = esd(steps=1, train=group)
    trained = method.setup(backbone)
    method.loss(backbone, *sides(backbone), generator())["loss"].backward()
    with_gradient = {n for n, p in backbone.network().named_parameters() if p.grad is not None}
    assert set(trained) == set(backbone.parameter_groups()[group]) == with_gradient
    assert all(p.grad is None for p in backbone.vae.parameters())
    perturb(backbone)
    edit = method.to_edit(backbone)
    assert set(edit.tensors) == set(trained)
    assert edit.settings["train"] == group


# -- LoRA ------------------------------------------------------------------------------------------------------------
def test_fresh_adapters_change_nothing_and_every_one_gets_gradient():
    backbone = FakeBackbone().eval()
    forget, retain = sides(backbone)
    state = backbone.corrupt(forget.target, generator())
    before = backbone.predict(state, forget.condition)
    method = lora(steps=1, rank=2, alpha=4.0, forget="ascent", preserve="target")
    trained = method.setup(backbone)
    assert torch.equal(backbone.predict(state, forget.condition), before)
    assert len(trained) == 2 * len(backbone.adapter_targets)
    with torch.no_grad():
        for name, parameter in trained.items():
            if name.endswith("lora_B"):
                parameter.normal_(generator=generator(1))
    method.loss(backbone, forget, retain, generator())["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())
    assert {id(p) for p in backbone.parameters() if p.requires_grad} == {id(p) for p in trained.values()}
    network = backbone.network()
    assert not torch.equal(backbone.predict(state, forget.condition), before)
    for layer in adapters.lora_layers(network).values():
        layer.enable_adapters(False)
    assert torch.equal(backbone.predict(state, forget.condition), before)
    for layer in adapters.lora_layers(network).values():
        layer.enable_adapters(True)
    learned = backbone.predict(state, forget.condition).detach()
    edit = method.to_edit(backbone)
    method.teardown(backbone)
    assert torch.equal(backbone.predict(state, forget.condition), before)
    assert not hasattr(network, "peft_config")
    from hmu.methods.applying import applied

    with applied(backbone, [(edit, 1.0)]):
        torch.testing.assert_close(backbone.predict(state, forget.condition), learned, rtol=1e-5, atol=1e-5)


def test_adapter_share_counts_what_is_injected():
    backbone = FakeBackbone()
    trained, total = adapters.count(backbone, 3)
    parameters = lora(steps=1, rank=3).setup(backbone)
    assert trained == sum(p.numel() for p in parameters.values()) == 4 * 3 * 16
    assert total == sum(p.numel() for p in backbone.network().parameters())


def test_the_published_contrast_is_retain_minus_lambda_forget():
    backbone = FakeBackbone()
    forget, retain = sides(backbone)
    method = lora(steps=1, rank=2, forget="ascent", preserve="target", lambda_forget=0.5, unconditional=0.0)
    method.setup(backbone)
    terms = method.loss(backbone, forget, retain, generator())
    g = generator()
    noisy, kept = backbone.corrupt(forget.target, g), backbone.corrupt(retain.target, g)
    up = backbone.distance(backbone.predict(noisy, forget.condition), noisy.target, noisy).mean()
    down = backbone.distance(backbone.predict(kept, retain.condition), kept.target, kept).mean()
    torch.testing.assert_close(terms["loss"], down - 0.5 * up)
    torch.testing.assert_close(terms["forget_loss"], up.detach())
    torch.testing.assert_close(terms["retain_loss"], down.detach())


@pytest.mark.parametrize("term", [lambda loss, base: hinge(loss, base, 0.5), lambda loss, base: npo(loss, base, 10.0)])
def test_bounded_terms_stop_pushing(term):
    original = torch.tensor([0.5, 2.0])
    for worse, pushes in ((0.0, True), (50.0, False)):
        loss = (original + worse).requires_grad_()
        term(loss, original).sum().backward()
        assert (loss.grad.abs().max() > 1e-6) == pushes
        assert (term(loss, original) <= term(original + 1e3, original) + 1e-6).all()


def test_terms_are_the_published_formulas():
    loss, original = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0])
    assert hinge(loss, original, 0.5).tolist() == [1.0, 1.5]
    expected = [2 / 4 * math.log(1 / (1 + math.exp(-4 * gap))) for gap in (0.0, 2.0)]
    torch.testing.assert_close(npo(loss, original, 4.0), torch.tensor(expected))


def test_redirect_is_largest_at_the_erased_output():
    backbone = FakeBackbone()
    method = lora(steps=1, rank=2, forget="redirect", eta=0.0, anchor="a person walks", unconditional=0.0)
    forget, retain = sides(backbone)
    method.setup(backbone)
    there = Side(forget.target, backbone.encode_text(["a person walks"] * len(forget)))
    assert method.loss(backbone, there, retain, generator())["forget"] == 0  # before the first step
    assert method.loss(backbone, forget, retain, generator())["forget"] < 0


@pytest.mark.parametrize("forget", ["ascent", "hinge", "npo", "redirect"])
@pytest.mark.parametrize("preserve", ["teacher", "target"])
def test_every_forget_term_runs_with_every_preservation(forget, preserve):
    backbone = FakeBackbone()
    method = lora(steps=1, rank=2, forget=forget, preserve=preserve)
    method.setup(backbone)
    terms = method.loss(backbone, *sides(backbone), generator())
    assert all(bool(torch.isfinite(value)) for value in terms.values())


def test_lora_stops_when_the_retain_side_breaks_or_the_forget_side_is_done():
    method = lora(steps=1, stop_retain=2.0, stop_forget=3.0)
    method.setup(FakeBackbone())
    fine = {"retain_loss": 1.0, "forget_loss": 1.0, "loss": 0.0}
    assert method.should_stop(fine) is None
    assert method.should_stop(fine | {"retain_loss": 1.9, "forget_loss": 2.9}) is None
    assert "retain_loss" in (method.should_stop(fine | {"retain_loss": 2.1}) or "")
    assert "forget_loss" in (method.should_stop(fine | {"forget_loss": 3.1}) or "")


# -- finetune, arguments -----------------------------------------------------------------------------------------------
def test_finetune_never_looks_at_the_forget_side():
    backbone = FakeBackbone()
    method = finetune(steps=1, dropout=False, unconditional=0.0)
    method.setup(backbone)
    forget, retain = sides(backbone)
    loss = method.loss(backbone, forget, retain, generator())["loss"]
    torch.testing.assert_close(loss, backbone.loss(retain.target, retain.condition, generator()).mean())
    torch.testing.assert_close(loss, method.loss(backbone, retain, retain, generator())["loss"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: esd(steps=None), "give one of the two"),
        (lambda: esd(steps=1, epochs=1), "give one of the two"),
        (lambda: esd(steps=0), "at least 1"),
        (lambda: esd(steps=1, lr=0.0), "method.lr=0.0: expected a number .not nan or inf., above 0"),
        (lambda: esd(steps=1, preserve="nothing"), "expected teacher or target"),
        (lambda: esd(steps=1, variant="mine"), "expected default or upstream"),
        (lambda: lora(steps=1, rank=0), "method.rank=0: expected a whole number, at least 1"),
        (lambda: lora(steps=1, forget="delete"), "expected ascent, hinge, npo or redirect"),
        (lambda: esd(steps=1, train="heads").setup(FakeBackbone()), "offers all, cross, cross_kv, rest"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_fits_says_why_not():
    backbone = FakeBackbone()
    assert esd(steps=1).fits(backbone) is None
    assert "no diffusion" in (esd(steps=1, variant="upstream").fits(backbone) or "")
    assert lora(steps=1).fits(backbone) is None
    type(backbone).adapter_targets, kept = property(lambda self: []), type(backbone).adapter_targets
    try:
        assert "adapter_targets" in (lora(steps=1).fits(backbone) or "")
    finally:
        type(backbone).adapter_targets = kept


def test_epochs_count_passes_over_the_forget_side():
    assert esd(steps=None, epochs=3, batch_size=32).total_steps(65) == 9
    assert esd(steps=7).total_steps(65) == 7


def test_the_backbone_says_what_trains_where_the_method_does_not(monkeypatch):
    backbone = FakeBackbone()
    assert set(esd(steps=1).setup(backbone)) == set(backbone.parameter_groups()["all"])
    monkeypatch.setattr(FakeBackbone, "unlearn_group", "cross_kv")
    assert set(esd(steps=1).setup(FakeBackbone())) == set(backbone.parameter_groups()["cross_kv"])
