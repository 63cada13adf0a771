"""UCE and RECE: what the solution promises, rows of prompts, groups of layers, the variants."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import ConfigError
from hmu.methods.applying import applied
from hmu.methods.closed_form import Group, Scales, adversarial_map, collect, erased_output, solve
from hmu.methods.edit import fingerprint, load_edit
from hmu.methods.prompt_rows import aims, input_groups, pick_rows, prompt_rows, side_rows
from hmu.methods.rece import recovered
from hmu.methods.uce import Uce, captions_of, without_direction
from hmu.methods.upstream import closed_form as upstream_edits
from tests.methods.make import rece, uce
from tests.parity.uce_rece import group_of

from .fake import FakeBackbone, FakeClips
from .fake_edits import KICK, PooledBackbone, WordBackbone

TEXTS = ["a person kicks", "kicks quickly", "", "a person stands"]


def group(seed: int = 0, rows: int = 3, kept: int = 4, width: int = 9, bias: bool = True) -> Group:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    layers = {"k": (normal(5, width), normal(5) if bias else None), "v": (normal(6, width), normal(6))}
    return group_of(layers, normal(rows, width), normal(rows, width), normal(kept, width))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["anchor", "projection"]), st.booleans())
def test_the_edited_layer_answers_as_wanted_where_there_is_room(seed, target, bias):
    """Fewer rows than inputs: with hardly any pull to the old weights every wish is met, the bias added once."""
    g = torch.Generator().manual_seed(seed)
    problem, retain = group(seed, bias=bias), torch.randn(4, 9, generator=g).double()
    problem.gram, problem.total = retain.T @ retain, retain.sum(0)
    for name, (weight, offset) in problem.layers.items():
        new = solve(problem, name, Scales(1.0, 1.0, 1e-10), target)
        plus = 0.0 if offset is None else offset
        answer = problem.concept @ new.T + plus
        torch.testing.assert_close(
            answer, erased_output(problem.concept, problem.aim, weight, offset, target), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(retain @ new.T, retain @ weight.T, atol=1e-5, rtol=0)


def test_the_solution_is_the_minimum():
    problem, scales = group(rows=12, kept=20), Scales(0.7, 0.3, 0.2)
    retain = torch.randn(20, 9, dtype=torch.float64)
    problem.gram = retain.T @ retain
    weight, bias = problem.layers["k"]
    aim = erased_output(problem.concept, problem.aim, weight, bias, "projection")
    new = solve(problem, "k", scales, "projection").requires_grad_()
    loss = scales.ridge * (new - weight).square().sum() + scales.keep * (retain @ (new - weight).T).square().sum()
    loss = loss + scales.erase * (problem.concept @ new.T + bias - aim).square().sum()
    (gradient,) = torch.autograd.grad(loss, new)
    assert float(gradient.abs().max()) < 1e-9


def test_a_projected_answer_has_nothing_left_along_the_concept():
    problem = group()
    weight, bias = problem.layers["k"]
    own = problem.concept @ weight.T + bias
    aim = erased_output(problem.concept, problem.aim, weight, bias, "projection")
    assert float((aim * own).sum(1).abs().max()) < 1e-9


def test_upstream_moves_kept_prompts_by_up_to_the_bias_and_ours_does_not():
    problem, scales = group(), Scales(1.0, 1.0, 1e-9)
    retain = torch.randn(4, 9, dtype=torch.float64)
    problem.gram, problem.total = retain.T @ retain, retain.sum(0)
    weight, bias = problem.layers["k"]
    moved = retain @ (upstream_edits.solve(problem, "k", scales, "anchor") - weight).T
    torch.testing.assert_close(moved, bias.expand_as(moved), atol=1e-5, rtol=0)
    kept = retain @ (solve(problem, "k", scales, "anchor") - weight).T
    assert float(kept.abs().max()) < 1e-5


def test_the_adversary_recovers_the_old_answer_and_a_round_takes_it_away():
    problem, scales = group(width=6, rows=2), Scales(1.0, 0.0, 0.5)
    old = {name: weight for name, (weight, _) in problem.layers.items()}
    new = {name: solve(problem, name, scales, "anchor") for name in problem.layers}
    adversary = problem.concept @ adversarial_map([(new[n], old[n]) for n in old], 1e-6).T
    plain, best = (recovered(problem, new, rows) for rows in (problem.concept, adversary))
    assert best > plain
    after = {n: solve(problem, n, scales, "anchor", concept=adversary, current=new[n]) for n in old}
    assert recovered(problem, after, adversary) < best


def test_without_an_edit_the_adversary_is_the_concept_on_what_the_layers_see():
    problem = group(width=6)
    weights = [(weight, weight) for weight, _ in problem.layers.values()]
    mapped = problem.concept @ adversarial_map(weights, 1e-12).T
    torch.testing.assert_close(mapped, problem.concept, atol=1e-6, rtol=0)


# -- rows --------------------------------------------------------------------------------------------------------------
def test_rows_know_their_prompt_and_their_kind():
    rows = prompt_rows(WordBackbone(), TEXTS, ["cross_attn.Wk"])
    assert rows.prompt.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 3]
    assert rows.kind.tolist() == [0, 1, 1, 2, 0, 1, 2, 0, 0, 1, 1, 2]
    content = pick_rows(rows, "content")
    assert content.prompt.tolist() == [0, 0, 1, 2, 3, 3]  # the empty prompt keeps its marker
    pooled = pick_rows(rows, "pooled")
    x = rows.inputs["cross_attn.Wk"]
    torch.testing.assert_close(pooled.inputs["cross_attn.Wk"][1], x[4:7].mean(0))


def test_averaging_does_not_depend_on_the_chunks(monkeypatch):
    backbone, layers = WordBackbone(), ["cross_attn.Wk"]
    (whole,) = side_rows(backbone, TEXTS, layers, "averaged")
    monkeypatch.setattr("hmu.methods.prompt_rows.CHUNK", 3)
    (parts,) = side_rows(backbone, TEXTS, layers, "averaged")
    torch.testing.assert_close(whole.inputs["cross_attn.Wk"], parts.inputs["cross_attn.Wk"])


def test_markers_become_the_anchors_markers_and_words_its_mean_word():
    backbone, layers = WordBackbone(), ["cross_attn.Wk"]
    anchor = prompt_rows(backbone, ["a person stands"], layers)
    x = anchor.inputs["cross_attn.Wk"].double()
    table = aims(anchor, "all")("cross_attn.Wk", torch.tensor([0, 1, 2]))
    torch.testing.assert_close(table, torch.stack([x[0], x[1:3].mean(0), x[3]]))
    torch.testing.assert_close(aims(anchor, "pooled")("cross_attn.Wk", torch.tensor([1]))[0], x.mean(0))


def test_layers_that_read_the_same_are_one_group():
    assert input_groups(WordBackbone(), ["cross_attn.Wk", "cross_attn.Wv"]) == {
        "cross_attn.Wk": ["cross_attn.Wk", "cross_attn.Wv"]
    }
    found = input_groups(PooledBackbone(), ["first", "second", "third"])
    assert found == {"first": ["first", "second"], "third": ["third"]}


def test_pooled_prompts_have_one_row_each_whatever_is_asked_for():
    for choice in ("all", "content", "pooled"):
        (rows,) = side_rows(PooledBackbone(), TEXTS, ["first"], choice)
        assert rows.prompt.tolist() == [0, 1, 2, 3]


# -- the methods -------------------------------------------------------------------------------------------------------
METHODS = {
    "uce": lambda **o: uce(**o),
    "uce projection": lambda **o: uce(target="projection", **o),
    "uce direction": lambda **o: uce(target="direction", **o),
    "uce content": lambda **o: uce(concept_tokens="content", preserve_weight=5.0, **o),
    "uce averaged": lambda **o: uce(concept_tokens="averaged", retain_limit=2, **o),
    "uce few texts": lambda **o: uce(forget_texts=["kicks"], retain_texts=["walks", "waves"], weighting="sum", **o),
    "rece": lambda **o: rece(rounds=2, **o),
    "rece projection": lambda **o: rece(target="projection", **o),
}


def edited(method: Uce, backbone: FakeBackbone):
    clips = FakeClips(["kicks"], 5), FakeClips(["walks", "waves"], 6)
    return method.edit(backbone, *clips, KICK, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [WordBackbone, PooledBackbone])
@pytest.mark.parametrize("name", METHODS)
def test_the_concept_moves_more_than_the_rest_and_the_base_comes_back(name, make, tmp_path):
    backbone = make()
    before = fingerprint(backbone)
    edit = edited(METHODS[name](anchor="a person stands"), backbone)
    assert fingerprint(backbone) == before == edit.base
    assert set(edit.deltas(backbone)) == {f"{layer}.weight" for layer in backbone.text_projections()}

    def answers(text: str) -> torch.Tensor:
        inputs = backbone.projection_inputs(backbone.encode_text([text]))
        return torch.cat([layer(inputs[n]).flatten() for n, layer in backbone.text_projections().items()]).detach()

    probes = {text: answers(text) for text in ("a person kicks", "a person walks")}
    edit.save(tmp_path / "edit")
    with applied(backbone, [(load_edit(tmp_path / "edit"), 1.0)]):
        moved = {text: float((answers(text) - old).norm()) for text, old in probes.items()}
    assert fingerprint(backbone) == before
    if "direction" not in name:  # which moves the two sides towards each other
        assert moved["a person kicks"] > 1.1 * moved["a person walks"]


def test_without_the_direction_both_sides_mean_the_same():
    problem = group()
    direction = problem.concept.mean(0) - problem.total / problem.retain_rows
    for weight in without_direction(problem, 1.0).values():
        assert float((weight @ direction).abs().max()) < 1e-9
    old, turned = problem.layers["k"][0], without_direction(problem, 2.0)["k"]
    torch.testing.assert_close(turned @ direction, -old @ direction)


def test_rece_without_rounds_is_uce_and_with_rounds_says_what_the_adversary_found():
    backbone = WordBackbone()
    plain, none = edited(uce(), backbone), edited(rece(rounds=0), backbone)
    assert all(torch.equal(plain.tensors[name], none.tensors[name]) for name in plain.tensors)
    told = edited(rece(rounds=3), backbone).settings["solved"]
    (values,) = (value for key, value in told.items() if "adversary" in key)
    assert len(values) == 3


def test_the_weights_mean_the_same_for_any_number_of_captions():
    backbone = PooledBackbone()
    few, many = ["a person kicks"], ["a person kicks"] * 7
    kept = ["a person walks", "a person waves"]
    once, often = (uce().deltas(backbone, texts, kept)[0] for texts in (few, many))
    torch.testing.assert_close(once["first"], often["first"])
    once, often = (uce(weighting="sum").deltas(backbone, texts, kept)[0] for texts in (few, many))
    assert not torch.allclose(once["first"], often["first"])


def test_upstream_on_pooled_layers_is_the_port():
    backbone = PooledBackbone()
    options = {
        "erase_weight": 0.1,
        "preserve_weight": 0.5,
        "regulariser": 0.1,
        "weighting": "sum",
        "target": "projection",
    }
    erased, kept = ["kicks", "waves"], ["walks", "stands", "a person"]
    deltas, _ = rece(variant="upstream", rounds=2, **options).deltas(backbone, erased, kept)
    (problem, _) = collect(backbone, ["first", "second", "third"], erased, kept, "", ("all", "all"))
    weights = {n: upstream_edits.solve(problem, n, Scales(0.1, 0.5, 0.1), "projection") for n in problem.layers}
    for _ in range(2):
        weights, _ = upstream_edits.rece_round(problem, weights, Scales(0.1, 0.5, 0.1), "projection", 1e-3)
    torch.testing.assert_close(deltas["first"], weights["first"] - problem.layers["first"][0])


def test_upstream_on_words_is_the_fork():
    backbone = WordBackbone()
    deltas, _ = uce(variant="upstream", strength=3.0).deltas(backbone, ["kicks"], ["walks"])
    with torch.no_grad():
        means = [backbone.denoiser.word_emb(backbone.encode_text([t]).tokens).mean(1)[0] for t in ("kicks", "walks")]
    direction, weight = (means[0] - means[1]).double(), backbone.denoiser.cross_attn.Wk.weight.detach().double()
    gain = ((weight + deltas["cross_attn.Wk"]) @ direction).norm() / (weight @ direction).norm()
    assert float(gain) == pytest.approx(abs(1 - 3 * float(direction.norm())), rel=1e-5)


def test_only_named_layers_are_edited():
    assert set(edited(uce(layers=["Wv"]), WordBackbone()).tensors) == {"cross_attn.Wv.weight"}
    with pytest.raises(ConfigError, match=r"'Wx'.*cross_attn\.Wk"):
        edited(uce(layers=["Wx"]), WordBackbone())


def test_captions_are_taken_once():
    assert captions_of(FakeClips(["kicks"], 3)) == ["a person kicks", "a person quickly kicks"]


def test_a_backbone_without_projections_is_refused():
    assert "no linear layers" in str(uce().fits(FakeBackbone))
    assert "no linear layers" in str(uce().fits(FakeBackbone()))
    assert uce().fits(WordBackbone) is None
    assert rece().fits(WordBackbone()) is None
    assert "no RECE" in str(rece(variant="upstream").fits(WordBackbone()))
    assert rece(variant="upstream").fits(PooledBackbone()) is None


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"target": "mirror"}, "method.target=mirror"),
        ({"concept_tokens": "verbs"}, "method.concept_tokens=verbs"),
        ({"weighting": "max"}, "method.weighting=max"),
        ({"regulariser": 0.0}, "method.regulariser=0.0: expected a number .not nan or inf., above 0"),
        ({"retain_limit": 0}, "method.retain_limit=0"),
        ({"forget_texts": "kick"}, "method.forget_texts=kick: expected a list"),
        ({"forget_texts": []}, "expected a list of prompts"),
    ],
)
def test_impossible_values_are_refused(options, what):
    with pytest.raises(ConfigError, match=what):
        uce(**options)


def test_impossible_rounds_are_refused():
    with pytest.raises(ConfigError, match="rounds"):
        rece(rounds=-1)
    with pytest.raises(ConfigError, match="direction"):
        rece(target="direction")
