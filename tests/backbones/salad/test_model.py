from __future__ import annotations

import pytest
import torch

from hmu.backbones.base import MotionBackbone, Target
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError

from .conftest import motions, seeded, tiny


def test_is_a_backbone(model):
    assert isinstance(model, MotionBackbone)
    assert model.stages == ("vae", "denoiser")
    assert (model.stage_window("vae"), model.stage_window("denoiser")) == (64, None)
    assert model.unit_length == 4
    assert model.network() is model.denoiser


# -- target ----------------------------------------------------------------------------------------
def test_target_is_deterministic_masked_and_that_of_the_clip_alone(model):
    batch = motions([40, 24, 32])
    model.train()
    model.vae.options, mode = model.vae.options, model.vae.training
    one, two = model.encode_target(batch), model.encode_target(batch)
    assert model.vae.training == mode
    alone = model.encode_target(motions([40, 24, 32]).__class__(
        batch.motion[1:2, :24], batch.lengths[1:2], batch.captions[1:2], batch.ids[1:2]
    ))  # fmt: skip
    for name in ("mean", "logvar"):
        assert one.tensors[name].shape == (3, 10, 7, 4)
        assert not one.tensors[name].requires_grad
        assert torch.equal(one.tensors[name], two.tensors[name])
        assert not one.tensors[name][1, 6:].any()
        torch.testing.assert_close(one.tensors[name][1, :6], alone.tensors[name][0], atol=1e-5, rtol=1e-4)


def test_corrupt_masks_cuts_and_follows_the_generator(model):
    target = model.encode_target(motions([40, 24, 32])).select(torch.tensor([1, 2]))
    one, two = model.corrupt(target, seeded(5)), model.corrupt(target, seeded(5))
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.time, two.time)
    assert one.inputs.shape == (2, 8, 7, 4)
    assert not one.inputs[0, 6:].any()
    assert not one.target[0, 6:].any()
    assert torch.equal(one.valid, length_mask(torch.tensor([6, 8]), 8))
    assert not torch.equal(one.inputs, model.corrupt(target, seeded(6)).inputs)


def test_mean_posterior_draws_no_latent(model):
    target = model.encode_target(motions([16]))
    loud = Target({"mean": target.tensors["mean"], "logvar": target.tensors["logvar"] + 50}, target.lengths)
    assert tiny(posterior="mean").corrupt(loud, seeded()).inputs.abs().max() < 50
    assert model.corrupt(loud, seeded()).inputs.abs().max() > 50


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_a_perfect_prediction_has_no_distance(kind):
    model = tiny(schedule={"prediction_type": kind})
    state = model.corrupt(model.encode_target(motions([16, 24])), seeded())
    assert not model.distance(state.target, state.target, state).any()


def test_distance_averages_over_valid_positions(model):
    state = model.corrupt(model.encode_target(motions([16, 40])), seeded())
    off = state.target + 2.0 * state.valid[:, :, None, None]
    torch.testing.assert_close(model.distance(off, state.target, state), torch.tensor([4.0, 4.0]))
    published = tiny(variant="upstream").distance(off, state.target, state)
    torch.testing.assert_close(published, torch.tensor([4.0 * 4 / 10, 4.0]))


# -- objectives ------------------------------------------------------------------------------------
def test_vae_stage_trains_all_its_weights_and_nothing_else(model):
    model.train()
    terms = model.stage_loss("vae", motions([32, 20]), seeded())
    assert set(terms) == {"loss", "recon", "pos", "vel", "kl"}
    expected = terms["recon"] + 0.5 * terms["pos"] + 0.5 * terms["vel"] + 0.02 * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.stage_parameters("vae"))
    assert all(p.grad is None for p in model.denoiser.parameters())


def test_vae_loss_neither_reads_nor_counts_padding(model):
    batch = motions([32, 20])
    loss = model.stage_loss("vae", batch, seeded())["loss"]
    batch.motion[1, 20:] = 1e3
    torch.testing.assert_close(model.stage_loss("vae", batch, seeded())["loss"], loss)


def test_denoiser_stage_trains_text_too(model):
    model.train()
    parameters = list(model.stage_parameters("denoiser"))
    batch = motions([32, 20])
    loss = model.stage_loss("denoiser", batch, seeded())["loss"]
    torch.testing.assert_close(loss, model.stage_loss("denoiser", batch, seeded())["loss"])
    loss.backward()
    assert any(p is q for p in parameters for q in model.text.parameters())
    assert model.text.words.weight.grad.any()
    assert all(p.grad is None for p in model.vae.parameters())


def test_prompts_are_dropped_at_the_configured_rate(model):
    from hmu.backbones.salad.objectives import drop_prompts

    kept = drop_prompts(["a"] * 4000, model.denoiser.options.cond_drop, seeded(), model.device)
    assert 0.07 < kept.count("") / 4000 < 0.13


def test_a_denoiser_learns(model):
    model.train()
    batch = motions([16, 16])
    optimizer = torch.optim.AdamW(model.stage_parameters("denoiser"), 1e-2)
    losses = []
    for step in range(24):
        loss = model.stage_loss("denoiser", batch, seeded(step % 4))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-4:]) < 0.85 * sum(losses[:4])


def test_stages_are_known(model):
    for call in (model.stage_window, model.stage_parameters):
        with pytest.raises(ConfigError, match="stages vae, denoiser"):
            call("decoder")


def test_latent_scale_gives_unit_variance_and_travels_with_the_weights():
    model = tiny(latent_scale=None)
    batch = motions([40, 40, 24])
    assert model.scale == 1.0
    with pytest.raises(ConfigError, match="prepare_stage"):
        model.stage_loss("denoiser", batch, seeded())
    model.prepare_stage("vae", [batch])
    assert model.latent_scale is None
    with pytest.raises(ConfigError, match="there are none"):
        model.prepare_stage("denoiser", [])
    halves = [slice(0, 2), slice(2, 3)]
    parts = [MotionBatch(batch.motion[k], batch.lengths[k], batch.captions[k], batch.ids[k]) for k in halves]
    model.prepare_stage("denoiser", parts)
    split = model.latent_scale
    model.latent_scale = None
    model.prepare_stage("denoiser", [batch])
    assert split == pytest.approx(model.latent_scale, rel=1e-6)  # however the clips fall into batches
    assert model.latent_scale not in (None, 1.0)
    target = model.encode_target(batch)
    keep = length_mask(model.latent_lengths(target.lengths), 10)
    mean, logvar = (target.tensors[name][keep] for name in ("mean", "logvar"))
    drawn = torch.cat([mean + (logvar / 2).exp() * torch.randn_like(mean) for _ in range(50)]) * model.scale
    assert abs(float(drawn.std()) - 1) < 0.02
    other = tiny(latent_scale=None)
    other.load_state_dict(model.state_dict())
    assert other.latent_scale == model.latent_scale


# -- text ------------------------------------------------------------------------------------------
def test_frozen_prompts_are_encoded_once(model, monkeypatch):
    model.text.requires_grad_(False)
    calls = []
    encode = model.text.encode
    monkeypatch.setattr(model.text, "encode", lambda texts: calls.append(list(texts)) or encode(texts))
    one = model.encode_text(["a person kicks", "", "a person kicks"])
    two = model.encode_text(["a", "a person kicks"])
    assert calls == [["a person kicks", ""], ["a"]]
    torch.testing.assert_close(one.tokens[0], two.tokens[1])
    assert one.mask.sum(1).tolist() == [5, 2, 5]
    torch.testing.assert_close(two.tokens[0, :3], encode(["a"]).tokens[0], atol=1e-5, rtol=1e-4)
    assert not two.tokens[0, 3:].any()


def test_trained_prompts_are_not_cached(model):
    before = model.encode_text(["a"]).tokens
    assert before.requires_grad
    with torch.no_grad():
        model.text.norm.bias.add_(1.0)
    assert not torch.allclose(before, model.encode_text(["a"]).tokens)


def test_needs_a_text_encoder_for_words():
    with pytest.raises(ConfigError, match="no text encoder"):
        tiny(text=None, text_width=8).encode_text(["a"])


def test_vocabulary_comes_from_the_captions():
    from tests.compact import compact

    model = tiny(text=compact(width=16, heads=2, layers=1))
    model.prepare(torch.zeros(263), torch.ones(263), motions([16, 16, 16, 16]).captions)
    assert "kicks" in model.text.vocabulary
    assert torch.equal(model.mean, torch.zeros(263))


# -- handles ---------------------------------------------------------------------------------------
def test_handles_name_what_exists(model):
    modules, parameters = dict(model.network().named_modules()), dict(model.network().named_parameters())
    assert len(model.adapter_targets) == 36
    assert all(isinstance(modules[name], torch.nn.Linear) for name in model.adapter_targets)
    for names in model.parameter_groups().values():
        assert names
        assert set(names) <= set(parameters)
    projections = model.text_projections()
    assert len(projections) == 6
    assert set(projections) <= set(model.adapter_targets)


def test_refuses_unknown_options():
    with pytest.raises(ConfigError, match="unknown key typo"):
        tiny(vae={"typo": 1})
    with pytest.raises(ConfigError, match="variant"):
        tiny(variant="mine")
    with pytest.raises(ConfigError, match="std > 0"):
        tiny().statistics.assign(torch.zeros(263), torch.zeros(263))
    with pytest.raises(ConfigError, match="expected \\(263,\\)"):
        tiny().statistics.assign(torch.zeros(251), torch.ones(251))
