from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from hmu.backbones.base import MotionBackbone
from hmu.backbones.gaitdynamics import GaitDynamics, build
from hmu.backbones.gaitdynamics.complete import complete, unseen
from hmu.backbones.gaitdynamics.objectives import body_terms, column_terms, total
from hmu.backbones.gaitdynamics.options import ObjectiveOptions, SamplingOptions
from hmu.backbones.gaitdynamics.sampling import WindowMean
from hmu.errors import CheckpointError, ConfigError
from hmu.gait import columns
from hmu.gait.skeleton import Skeleton
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.edit import AdapterEdit
from tests import published
from tests.backbones.gaitdynamics.conftest import batch_of, toy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- contract ------------------------------------------------------------------------------------------------------
def test_it_is_a_backbone_and_normalises_by_itself(model):
    assert isinstance(model, MotionBackbone)
    batch = batch_of([30, 20])
    target = model.encode_target(batch)
    assert bool((target.tensors["states"][1, 20:] == 0).all())
    again = model.denormalise(target.tensors["states"], batch.lengths)
    assert torch.allclose(again, batch.motion, atol=1e-5)
    assert len(model.encode_text(["walk", ""])) == 2
    assert model.text_projections() == {}
    assert model.codebooks() == {}
    assert set(model.parameter_groups()) == {"attention", "rest", "all"}


def test_training_ignores_padding_and_words(model):
    padded = batch_of([18, 30])
    short = replace(padded, motion=padded.motion[:1, :18], lengths=padded.lengths[:1])
    alone, both = model.encode_target(short), model.encode_target(padded)
    time, noise = torch.tensor([400]), torch.randn(1, 30, 63, generator=seeded())
    first = model.noised(alone.tensors["states"], noise[:, :18], time, alone.lengths)
    state = model.noised(both.tensors["states"][:1], noise, time, both.lengths[:1])
    expected = model.distance(model.predict(first), first.target, first)
    assert torch.allclose(model.distance(model.predict(state), state.target, state), expected, rtol=1e-4)
    assert torch.equal(model.predict(state, model.encode_text(["a"])), model.predict(state, model.encode_text([""])))


def test_the_ranges_are_measured_once(model):
    fresh = published.backbone("gaitdynamics", decoder={"latent_dim": 16, "ff_dim": 16, "layers": 1, "heads": 2})
    batch = batch_of([30, 20])
    fresh.prepare_stage("denoiser", [batch])
    clean = torch.cat([batch.motion[0], batch.motion[1, :20]])
    assert torch.equal(fresh.normaliser.data_max_, clean.amax(0))
    assert fresh.normaliser.samples == 50
    inside = fresh.normaliser.normalise(clean)
    assert float(inside.abs().max()) == pytest.approx(10.0, abs=1e-4)
    fresh.prepare_stage("denoiser", [batch_of([30], seed=9)])  # a trained model keeps its own
    assert torch.equal(fresh.normaliser.data_max_, clean.amax(0))
    with pytest.raises(ConfigError, match="stage=vae"):
        fresh.prepare_stage("vae", [])


def test_a_constant_column_divides_by_one():
    model = toy()
    model.normaliser.set_range(torch.ones(63), torch.ones(63))
    assert bool((model.normaliser.normalise(torch.ones(1, 63)) == -10).all())


# -- objective -----------------------------------------------------------------------------------------------------
def test_only_terms_with_weight_enter_and_nan_elsewhere_harms_nothing():
    options = published.options(ObjectiveOptions, simple=2.0, drift=1.0)
    terms = {"simple": torch.tensor([1.0, 3.0]), "drift": torch.tensor([4.0, 4.0]), "fk": torch.tensor([torch.nan] * 2)}
    found = total(options, terms, torch.ones(2))
    assert float(found["loss"]) == 8.0
    assert set(found) == {"loss", "simple", "drift"}


def test_all_terms_have_gradient_and_the_authors_slide_has_none():
    model = toy(objective={"velocity": 1.0, "drift": 1.0, "fk": 1.0, "slide": 1.0})
    terms = model.stage_loss("denoiser", batch_of([30, 30]), seeded())
    assert {"loss", "simple", "velocity", "drift", "fk"} <= set(terms)
    terms["loss"].backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.decoder.parameters())
    still = torch.zeros(1, 20, 63)
    still[..., columns.ROTATION_COLUMNS] = torch.eye(3)[:2].flatten().repeat(4)
    moving = still.clone()
    moving[..., 0] = 0.5
    moving.requires_grad_(True)
    plain = toy().normaliser.set_range(-10 * torch.ones(63), 10 * torch.ones(63))
    body = (torch.tensor([1.7]), Skeleton.generic(1.7, torch.float32))
    ours = body_terms(published.options(ObjectiveOptions), plain, moving, still, *body)
    theirs = body_terms(published.options(ObjectiveOptions), plain, moving, still, *body, variant="upstream")
    assert float(ours["slide"].detach()) > 0.1
    assert float(theirs["slide"].detach()) == 0.0
    assert not theirs["slide"].requires_grad


def test_velocity_and_drift_read_their_columns(model):
    answer = torch.zeros(1, 10, 63)
    root, other = answer.clone(), answer.clone()
    root[..., 0], other[:, 5, 7] = 1.0, 1.0
    a, b = (column_terms(published.options(ObjectiveOptions), x, answer) for x in (root, other))
    assert float(a["drift"]) > 0
    assert float(a["velocity"]) == 0
    assert float(b["drift"]) == 0
    assert float(b["velocity"]) > 0


# -- sampling ------------------------------------------------------------------------------------------------------
def test_equal_generators_give_equal_windows_whatever_the_batch(model):
    both = model.sample(["walk", "walk"], torch.tensor([24, 30]), generator=seeded())
    again = model.sample([""], torch.tensor([24]), generator=seeded())
    assert both.shape == (2, 30, 63)
    assert bool((both[0, 24:] == 0).all())
    assert torch.allclose(both[0, :24], again[0], atol=1e-4)
    with pytest.raises(ConfigError, match="positive"):
        model.sample([""], torch.tensor([0]))
    with pytest.raises(ConfigError, match="2 conditions but 3"):
        model.sample(["", ""], torch.tensor([9, 9, 9]))


@pytest.mark.parametrize("known_columns", [columns.KINEMATIC_COLUMNS, columns.KINETIC_COLUMNS])
def test_known_values_come_back_exactly_and_the_authors_do_not(known_columns, model):
    lengths = torch.tensor([30, 21])
    batch = batch_of(lengths.tolist())
    mask = torch.zeros_like(batch.motion, dtype=torch.bool)
    mask[..., known_columns] = True
    out = model.generate(lengths, known=batch.motion, mask=mask, generator=seeded())
    inside = mask & (torch.arange(30) < lengths[:, None])[..., None]
    assert torch.equal(out[inside], batch.motion[inside])
    assert float((out - batch.motion)[~mask].abs().max()) > 1e-3
    again = model.generate(lengths[:1], known=batch.motion[:1], mask=mask[:1], generator=seeded())
    assert torch.allclose(out[0], again[0], atol=1e-4)
    theirs = toy(variant="upstream").generate(lengths, known=batch.motion, mask=mask, generator=seeded())
    assert float((theirs - batch.motion)[inside].abs().max()) > 1e-3
    for wrong in ({"known": batch.motion}, {"known": batch.motion, "mask": mask[:, :3]}):
        with pytest.raises(ConfigError, match="mask belong together"):
            model.generate(lengths, **wrong)


def test_windows_have_the_mean_speed_asked_for_and_other_columns_follow(model):
    lengths, height = torch.tensor([30, 30, 22, 30]), torch.tensor([1.75, 1.6, 1.75, 1.9])
    free = model.generate(lengths, generator=seeded())
    wanted = torch.tensor([0.8, 1.0, 1.2, 1.4])
    guided = model.generate(lengths, columns=model.mean_speed(wanted, height), generator=seeded())
    mean = guided[..., 0].sum(1) / lengths * height  # zero beyond each length
    assert torch.allclose(mean, wanted, atol=1e-3)
    alone = model.generate(
        lengths[2:3], columns=model.mean_speed(1.2, 1.75), generator=torch.Generator().manual_seed(1)
    )
    assert float(alone[0, :, 0].mean() * 1.75) == pytest.approx(1.2, abs=1e-3)
    assert float((guided - free)[..., 1:].abs().max()) > 1e-4  # not only the column that was asked for
    rise = (guided - free)[0, :, 0]
    assert float(rise.std()) > 0  # and that one is not only shifted


def test_a_mean_moves_a_window_by_the_smallest_change_that_does_it():
    torch.manual_seed(0)
    weights = torch.randn(6, 6)

    def clean_of(x):
        return x @ weights  # linear: one Gauss-Newton step is exact

    x, options = torch.randn(1, 5, 6), published.options(SamplingOptions)
    moved = WindowMean(2, torch.tensor([0.3])).approach(clean_of, x, options, None)
    assert float((moved @ weights)[..., 2].mean()) == pytest.approx(0.3, abs=1e-5)
    change, along = (moved - x)[0], weights[:, 2] / weights[:, 2].norm()
    assert torch.allclose(change, (change @ along)[:, None] * along, atol=1e-6)  # nothing in vain
    far = WindowMean(2, torch.tensor([1e6])).approach(clean_of, x, options, None)
    assert float((far - x).square().mean().sqrt()) <= 0.5 + 1e-5


# -- expected answers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("predict", ["sample", "noise"])
def test_the_expected_answer_is_the_clip_behind_the_noise(predict):
    model = toy(schedule={"predict": predict})
    clips, known = model.encode_target(batch_of([30, 20, 30])), model.encode_target(batch_of([30, 20]))
    lengths = known.lengths
    clean = known.tensors["states"]
    noise = torch.randn(clean.shape, generator=seeded())
    faint = model.noised(clean, noise, torch.tensor([5, 5]), lengths)
    assert torch.allclose(model.expected(faint, clips), faint.target, atol=2e-3)
    last = model.diffusion.timesteps - 1
    loud = model.noised(clean[:1], noise[:1], torch.tensor([last]), lengths[:1])
    found = model.diffusion.to_clean(model.expected(loud, clips), loud.inputs, loud.time)
    long = clips.tensors["states"][[0, 2]]  # the clip of 20 frames is no candidate
    share = (found - long[1])[0].norm() + (found - long[0])[0].norm()
    assert float(share) == pytest.approx(float((long[0] - long[1]).norm()), rel=1e-3)  # a point between the two


def test_clips_that_are_all_too_short_still_give_an_answer():
    model = toy()
    clips, state = model.encode_target(batch_of([20, 12])), model.corrupt(model.encode_target(batch_of([30])), seeded())
    found = model.expected(state, clips)
    assert found.shape == state.target.shape
    assert bool(found.isfinite().all())


def test_the_expected_answer_weighs_clips_by_bayes_rule():
    model = toy()
    clips = model.encode_target(batch_of([24, 24, 24]))
    time = torch.tensor([600])
    state = model.noised(
        clips.tensors["states"][:1], torch.randn(1, 24, 63, generator=seeded()), time, clips.lengths[:1]
    )
    signal, noise = (model.diffusion.tables[f"sqrt_{n}"][600] for n in ("alphas_cumprod", "one_minus_alphas_cumprod"))
    chances = (
        torch.distributions.Normal(signal * clips.tensors["states"], noise)
        .log_prob(state.inputs)
        .sum((1, 2))
        .softmax(0)
    )
    mean = (chances[:, None, None] * clips.tensors["states"]).sum(0)
    assert torch.allclose(model.expected(state, clips)[0], mean, atol=1e-4)


# -- files ---------------------------------------------------------------------------------------------------------
def test_a_model_folder_comes_back_bit_for_bit(tmp_path, model):
    folder = model.save_pretrained(tmp_path / "m")
    again = GaitDynamics.load_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert again.normaliser.samples == model.normaliser.samples
    assert torch.equal(again.sample([""], torch.tensor([9]), generator=seeded()), model.sample(
        [""], torch.tensor([9]), generator=seeded()
    ))  # fmt: skip
    small = model.save_pretrained(tmp_path / "half", "float16") / "weights.safetensors"
    assert small.stat().st_size < 0.75 * (folder / "weights.safetensors").stat().st_size
    assert build(str(folder), sampling={"steps": 3}).sampling.steps == 3


def test_broken_and_foreign_folders_are_named(tmp_path, model):
    with pytest.raises(CheckpointError, match=r"no config\.json; give a model folder"):
        GaitDynamics.load_pretrained(tmp_path)
    folder = model.save_pretrained(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    for change, words in (
        ({"family": "salad"}, "choose backbone=salad"),
        ({"decoder": config["decoder"] | {"latent_dim": 32}}, "not the model that its config"),
        ({"colour": "red"}, "written by another version"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=words):
            GaitDynamics.load_pretrained(folder)


# -- adapters ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("choice", ["all", "published"])
def test_every_adapter_parameter_receives_gradient(choice):
    model = toy(adapters=choice)
    trained = adapters.inject(model, 2, 4.0, 0.0)
    assert len(trained) == 2 * (2 + 2 * (6 if choice == "all" else 2))
    with torch.no_grad():
        for name, parameter in trained.items():
            if name.endswith("lora_B"):  # at its start B is zero, and A has no gradient yet
                parameter.normal_(0, 0.1)
    target = model.encode_target(batch_of([30, 25]))
    model.loss(target, model.encode_text(["a", "b"]), seeded()).mean().backward()
    silent = [n for n, p in trained.items() if p.grad is None or float(p.grad.abs().sum()) == 0]
    assert silent == []


def test_an_adapter_off_is_the_base_bit_for_bit_and_a_negative_one_goes_the_other_way(model):
    names = model.adapter_targets
    linears = dict(model.decoder.named_modules())
    factors = {
        n: (torch.randn(2, linears[n].in_features), 0.05 * torch.randn(linears[n].out_features, 2)) for n in names
    }
    edit = AdapterEdit(factors, alpha=2.0)
    x, time = torch.randn(1, 9, 63), torch.tensor([500])
    base = model.decoder(x, time)
    with applied(model, [(edit, 1.0)]):
        assert not torch.equal(model.decoder(x, time), base)
    assert torch.equal(model.decoder(x, time), base)
    with applied(model, [(edit, 1.0), (edit, -1.0)]):
        assert torch.equal(model.decoder(x, time), base)
    with applied(model, [(edit, 0.01)]):
        more = model.decoder(x, time) - base
    with applied(model, [(edit, -0.01)]):
        less = model.decoder(x, time) - base
    assert float((more * less).sum().detach()) < 0


@pytest.mark.parametrize("frames", [20, 30, 31, 100])
def test_whole_recordings_are_completed_and_keep_what_is_known(frames, model):
    states = torch.randn(frames, 63, generator=seeded()).double()
    filled = complete(model, states, columns.KINEMATIC_COLUMNS, generator=seeded(1), steps=2)
    assert torch.equal(filled[:, columns.KINEMATIC_COLUMNS], states[:, columns.KINEMATIC_COLUMNS])
    assert bool(torch.isfinite(filled).all())
    other = states.clone()
    other[:, columns.KINETIC_COLUMNS] = torch.nan  # unknown values are not read
    again = complete(model, torch.nan_to_num(other, nan=7.0), columns.KINEMATIC_COLUMNS, generator=seeded(1), steps=2)
    assert torch.equal(again, filled)


def test_known_columns_that_the_model_has_never_seen_do_not_mislead_it(model):
    states = 0.1 * torch.randn(40, 63, generator=seeded()).double()
    assert unseen(model, states, columns.KINEMATIC_COLUMNS) == []
    strange, stranger = states.clone(), states.clone()
    lumbar = columns.states(["lumbar_0"])[0]
    strange[:, lumbar], stranger[:, lumbar] = 500.0, 900.0
    assert unseen(model, strange, columns.KINEMATIC_COLUMNS) == [lumbar]
    assert unseen(model, strange, columns.KINETIC_COLUMNS) == []
    answers = [
        complete(model, x, columns.KINEMATIC_COLUMNS, generator=seeded(1), steps=2, **more)
        for more in ({}, {"hide_unseen": False})
        for x in (strange, stranger)
    ]
    forces = [answer[:, columns.KINETIC_COLUMNS] for answer in answers]
    assert torch.equal(forces[0], forces[1])
    assert not torch.equal(forces[2], forces[3])
    assert bool((answers[1][:, lumbar] == 900).all()), "what is given comes back as given"
