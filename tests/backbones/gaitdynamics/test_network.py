from __future__ import annotations

import pytest
import torch

from hmu.backbones.gaitdynamics.authors import UNUSED, load_into, options_of, to_ours, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import DecoderOptions, SamplingOptions, ScheduleOptions
from hmu.errors import CheckpointError, ConfigError
from tests import published
from tests.backbones.gaitdynamics.conftest import SIZES, toy
from tests.parity.adan import Adan
from tests.parity.ancestral import step


def test_padding_changes_nothing_for_the_frames_before_it(model):
    x, time = torch.randn(2, 30, 63), torch.tensor([3, 700])
    valid = torch.ones(2, 30, dtype=torch.bool)
    valid[1, 18:] = False
    garbage = x.clone()
    garbage[1, 18:] = 100
    both = model.decoder(garbage, time, valid)
    alone = model.decoder(x[1:, :18], time[1:])
    assert torch.allclose(both[1, :18], alone[0], atol=1e-5)
    assert torch.allclose(both[0], model.decoder(x[:1], time[:1])[0], atol=1e-5)


@pytest.mark.parametrize("rotary", [True, False])
def test_the_authors_names_carry_every_weight_there_and_back(rotary):
    torch.manual_seed(0)
    decoder = Decoder(published.options(DecoderOptions, **SIZES | {"rotary": rotary}))
    theirs = to_published(decoder)
    assert sum(f".{UNUSED}." in name for name in theirs) == 2 * 4
    again = Decoder(options_of(theirs, "x", heads=2, dropout=0.0))
    load_into(again, theirs, "x")
    ours, back = decoder.state_dict(), again.state_dict()
    assert ours.keys() == back.keys() == to_ours(theirs).keys()
    assert all(torch.equal(ours[name], back[name]) for name in ours)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_other_layouts_are_refused(change):
    decoder = Decoder(published.options(DecoderOptions, **SIZES))
    state = to_published(decoder)
    if change == "missing":
        del state["final_layer.bias"]
    elif change == "extra":
        state["seqTransDecoder.stack.0.norm2.weight"] = torch.zeros(16)
    else:
        state["final_layer.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match="not the model that the published layout"):
        load_into(decoder, state, "file.pt")


@pytest.mark.parametrize("schedule", ["linear", "sqrt_linear", "sqrt", "cosine"])
def test_noise_and_clean_states_are_recovered_from_each_other(schedule):
    process = Diffusion(published.options(ScheduleOptions, timesteps=100, beta_schedule=schedule))
    clean, noise = torch.randn(3, 5, 63).double(), torch.randn(3, 5, 63).double()
    time = torch.tensor([0, 30, 60])
    noisy = process.add(clean, noise, time)
    assert torch.allclose(process.to_noise(clean, noisy, time), noise, atol=1e-2)
    by_noise = Diffusion(published.options(ScheduleOptions, timesteps=100, beta_schedule=schedule, predict="noise"))
    assert torch.allclose(by_noise.to_clean(noise, noisy, time), clean, atol=1e-2)
    assert process.target(clean, noise) is clean
    assert by_noise.target(clean, noise) is noise
    assert bool((process.tables["sqrt_alphas_cumprod"].diff() < 0).all())


def test_the_last_ancestral_step_adds_no_noise():
    process = Diffusion(published.options(ScheduleOptions, timesteps=10))
    x, time = torch.randn(2, 4, 63), torch.tensor([0, 5])
    quiet, loud = (step(process, x, x, time, torch.full_like(x, size)) for size in (0.0, 9.0))
    assert torch.equal(quiet[0], loud[0])
    assert not torch.equal(quiet[1], loud[1])


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (DecoderOptions, {"latent_dim": 30, "heads": 4}, "divisible"),
        (DecoderOptions, {"layers": 0}, "layers=0"),
        (ScheduleOptions, {"beta_schedule": "warp"}, "expected linear, sqrt_linear, sqrt or cosine"),
        (ScheduleOptions, {"predict": "velocity"}, "expected sample or noise"),
        (SamplingOptions, {"guide_from": 100, "guide_to": 950}, "never acts"),  # what the authors' scripts ask for
    ],
)
def test_impossible_numbers_are_refused_by_name(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        published.options(kind, **options)


def test_adan_minimises_and_uses_its_first_gradient():
    torch.manual_seed(0)
    goal = torch.randn(6)

    def distance(variant, steps):
        x = torch.nn.Parameter(torch.zeros(6))
        optimizer = Adan([x], lr=0.05, weight_decay=0.0, variant=variant)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (x - goal).square().sum()
            loss.backward()
            optimizer.step()
        return float((x - goal).norm().detach())

    assert distance("default", 120) < 0.2 * float(goal.norm())
    assert distance("upstream", 1) == pytest.approx(float(goal.norm()))
    assert distance("default", 1) < float(goal.norm())


def test_unknown_variants_are_refused():
    for options in ({"variant": "other"}, {"adapters": "some"}, {"decoder": {"width": 3}}):
        with pytest.raises(ConfigError):
            toy(**options)
