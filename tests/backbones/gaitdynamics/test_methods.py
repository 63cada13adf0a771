"""Methods run on gait as on everything else: labels are captions, the condition is empty."""

from __future__ import annotations

import pytest
import torch

from hmu.backbones.gaitdynamics import GaitDynamics
from hmu.data.concepts import Concept
from hmu.data.divide import partition_by_concept
from hmu.gait.trial import write_trial
from hmu.methods.applying import applied
from hmu.methods.edit import fingerprint, load_edit
from hmu.training.unlearning import run_method
from tests.backbones.gaitdynamics.conftest import toy
from tests.datasets import trials
from tests.gait.conftest import demo_trial
from tests.methods.fake import FakeBackbone
from tests.methods.make import esd, finetune, lora


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gait")
    for number in range(3):
        for style in ("walk", "crouch"):
            write_trial(folder / "t" / f"S{number}" / style / "t.npz", demo_trial(style, 0.5, 2.0, number))
    source = trials("gait", folder / "t", cache_dir=folder / "cache", stride=25)
    parts = partition_by_concept(source, "train", Concept("crouch_gait", ["crouch"]))
    return source.clips("train", parts.forget), source.clips("train", parts.retain)


@pytest.mark.parametrize(
    "method",
    [
        lora(rank=2, alpha=2.0, forget="hinge", steps=2, batch_size=2, lr=1e-2),
        lora(rank=2, alpha=2.0, forget="npo", steps=2, batch_size=2, lr=1e-2, dropout=0.05),
        lora(rank=2, alpha=2.0, forget="redirect", preserve="target", steps=2, batch_size=2, lr=1e-2),
        lora(mode="specialise", rank=2, alpha=2.0, steps=2, batch_size=2, lr=1e-2),
        finetune(train="attention", steps=2, batch_size=2, lr=1e-2),
    ],
    ids=["hinge", "npo", "redirect", "specialise", "finetune"],
)
def test_a_trained_method_leaves_the_base_alone_and_an_edit_behind(method, sides, tmp_path):
    model = toy(decoder={"window": 150})
    before = fingerprint(model)
    edit = run_method(method, model, *sides, seed=0, concept="crouch_gait")
    assert fingerprint(model) == before
    assert edit.settings["training"]["steps"] == 2
    loaded = load_edit(edit.save(tmp_path / "edit"))
    x, time = torch.randn(1, 12, 63), torch.tensor([300])
    base = model.decoder(x, time)
    with applied(model, [(loaded, 1.0)]):
        assert not torch.equal(model.decoder(x, time), base)
    assert torch.equal(model.decoder(x, time), base)


def test_a_method_that_needs_words_is_refused_by_name(sides):
    from hmu.errors import ConfigError

    with pytest.raises(ConfigError, match="gaitdynamics offers all, attention, rest"):
        run_method(esd(train="cross", steps=1, batch_size=2), toy(), *sides)


def test_esd_says_that_it_erases_nothing_where_no_prompt_is_read_and_erases_nothing(sides, caplog):
    model, method = toy(decoder={"window": 150}), esd(steps=2, batch_size=2, lr=1e-2)
    method.check(model)
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "method=esd erases nothing on backbone gaitdynamics" in line.getMessage()
    assert "use method=lora" in line.getMessage()
    assert lora(steps=1).fits(model) is None  # what it advises works
    edit = run_method(method, model, *sides, seed=0)
    assert max(float(delta.abs().max()) for delta in edit.tensors.values()) < 1e-6


def test_esd_has_nothing_to_say_where_prompts_are_read(caplog):
    esd(steps=1).check(FakeBackbone())
    assert not caplog.records


def test_specialise_learns_the_forget_side_alone_and_negate_stores_its_opposite(sides):
    found = {}
    for mode in ("specialise", "negate"):
        torch.manual_seed(0)  # the adapters' first values come from the global generator
        method = lora(mode=mode, strength=0.5, rank=2, alpha=4.0, steps=3, batch_size=2, lr=1e-2)
        found[mode] = run_method(method, toy(decoder={"window": 150}), *sides, seed=0, concept="crouch_gait")
    learned, taken = (found[mode].deltas(toy(decoder={"window": 150})) for mode in ("specialise", "negate"))
    assert learned.keys() == taken.keys() == {f"{name}.weight" for name in toy().adapter_targets}
    for name, delta in learned.items():
        assert delta.abs().max() > 0, f"{name} has learned nothing"
        torch.testing.assert_close(taken[name], -0.5 * delta)
    assert found["specialise"].settings["mode"] == "specialise"


def test_specialise_reads_no_retain_clip(sides):
    forget, retain = sides

    def learn(other):
        torch.manual_seed(0)
        method = lora(mode="specialise", rank=2, alpha=4.0, steps=2, batch_size=2, lr=1e-2)
        return run_method(method, toy(decoder={"window": 150}), forget, other, seed=0).tensors

    with_retain, with_itself = learn(retain), learn(forget)
    assert all(torch.equal(with_retain[name], with_itself[name]) for name in with_retain)


def test_redirect_needs_an_answer_to_point_to(monkeypatch):
    assert lora(rank=2, steps=1).fits(toy()) is None
    monkeypatch.delattr(GaitDynamics, "expected")
    reason = lora(rank=2, steps=1).fits(toy())
    assert reason is not None
    assert "reads no text" in reason
    assert "hinge" in reason
    assert lora(rank=2, steps=1, forget="hinge").fits(toy()) is None
    assert lora(rank=2, steps=1, mode="specialise").fits(toy()) is None


def test_several_adapters_act_together_each_with_its_strength(sides, tmp_path):
    model, edits = toy(decoder={"window": 150}), []
    for number in range(2):
        method = lora(mode="specialise", rank=1 + number, alpha=2.0, steps=2, batch_size=2, lr=1e-2)
        edit = run_method(method, model, *sides, seed=number, concept="crouch_gait")
        edits.append(load_edit(edit.save(tmp_path / f"edit{number}")))
    assert [edit.rank for edit in edits] == [1, 2]
    original = model.decoder.final_layer.weight.clone()
    first, second = (edit.deltas(model)["final_layer.weight"] for edit in edits)
    with applied(model, [(edits[0], 0.5), (edits[1], -1.0)]):
        torch.testing.assert_close(model.decoder.final_layer.weight, (original + 0.5 * first - second).float())
    assert torch.equal(model.decoder.final_layer.weight, original)


def test_an_adapter_for_another_network_is_refused(sides, tmp_path):
    from hmu.errors import CheckpointError

    method = lora(mode="specialise", rank=2, steps=1, batch_size=2)
    edit = run_method(method, toy(decoder={"window": 150}), *sides, seed=0)
    with pytest.raises(CheckpointError), applied(toy(decoder={"window": 150, "latent_dim": 8}), [(edit, 1.0)]):
        pass
    with (
        pytest.raises(CheckpointError),
        applied(toy(decoder={"window": 150, "latent_dim": 8}), [(edit, 1.0)], strict=False),
    ):
        pass
