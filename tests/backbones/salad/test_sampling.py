from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hmu.backbones.draws import clip_noise
from hmu.errors import ConfigError
from hmu.text.base import TextCondition

from .conftest import seeded, tiny

TEXTS = ["a person kicks", "a person walks slowly"]
LENGTHS = torch.tensor([40, 24])


def test_motions_are_reproducible_masked_and_in_real_units(model):
    one, two = (model.sample(TEXTS, LENGTHS, generator=seeded(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (2, 40, 263)
    assert not one.requires_grad
    assert not one[1, 24:].any()
    assert one[1, :24].any(1).all()
    assert not torch.equal(one, model.sample(TEXTS, LENGTHS, generator=seeded(2)))
    model.std.mul_(2)
    assert not torch.allclose(model.sample(TEXTS, LENGTHS, generator=seeded(1)), one)


def test_a_clip_does_not_depend_on_its_neighbours(model):
    together = model.sample(TEXTS, LENGTHS, generator=seeded(1))
    generator = seeded(1)
    for text, length, motion in zip(TEXTS, LENGTHS, together, strict=True):
        alone = model.sample([text], length[None], generator=generator)
        torch.testing.assert_close(motion[:length], alone[0], atol=1e-3, rtol=1e-3)


def test_guidance_is_the_published_combination(model):
    condition = model.encode_text(TEXTS)
    noise = clip_noise([10, 6], (7, 4), seeded(), torch.empty(0))
    model.sampling = replace(model.sampling, steps=1)
    with torch.no_grad():
        start = [model.denoise(noise, condition, LENGTHS // 4, guidance=g) for g in (0.0, 1.0, 3.0)]
    # one DDIM step is linear in the answer
    torch.testing.assert_close(start[2], start[0] + 3 * (start[1] - start[0]), atol=1e-4, rtol=1e-4)


def test_text_counts_without_guidance_unless_upstream(model):
    def pair(variant):
        model.variant = variant
        model.sampling = replace(model.sampling, guidance=1.0)
        texts = ["a person kicks", "a person waves"]
        return model.sample(texts, torch.tensor([16, 16]), generator=_Repeating())

    kick, wave = pair("default")
    assert not torch.allclose(kick, wave, atol=1e-4)
    kick, wave = pair("upstream")
    torch.testing.assert_close(kick, wave, atol=1e-5, rtol=1e-5)


class _Repeating(torch.Generator):
    """Stands for a generator that gives every clip the same noise (set by the test below)."""


@pytest.fixture(autouse=True)
def _same_noise(monkeypatch, request):
    if "unless_upstream" not in request.node.name:
        return
    import hmu.backbones.salad.model as module

    def repeated(lengths, inner, generator, like):
        return clip_noise(lengths[:1], inner, seeded(), like).expand(len(lengths), -1, -1, -1)

    monkeypatch.setattr(module, "clip_noise", repeated)


def test_zero_guidance_ignores_the_text(model):
    one = model.sample(["a person kicks"], torch.tensor([16]), guidance=0.0, generator=seeded())
    two = model.sample(["a person waves"], torch.tensor([16]), guidance=0.0, generator=seeded())
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}),
        ("DDPMScheduler", {}),
        ("EulerDiscreteScheduler", {}),
        ("UniPCMultistepScheduler", {}),
    ],
)
def test_any_scheduler_of_diffusers_generates(name, options):
    model = tiny(sampling={"steps": 4, "guidance": 2.0, "scheduler": name, "options": options})
    one, two = (model.sample(TEXTS, LENGTHS, generator=seeded(1)) for _ in range(2))
    assert torch.isfinite(one).all()
    assert torch.equal(one, two)
    assert not one[1, 24:].any()


def test_upstream_decodes_padding(model):
    plain = model.sample(TEXTS, LENGTHS, generator=seeded(1))
    model.variant = "upstream"
    published = model.sample(TEXTS, LENGTHS, generator=seeded(1))
    torch.testing.assert_close(plain[0], published[0], atol=1e-5, rtol=1e-4)
    assert (plain[1, :24] - published[1, :24]).abs().max() > 1e-3


def test_conditions_and_one_prompt_for_all(model):
    condition = model.encode_text(["a person kicks"])
    bare = TextCondition(condition.tokens.detach(), condition.mask)
    many = model.sample(bare, LENGTHS, generator=seeded(1))
    torch.testing.assert_close(many, model.sample(["a person kicks"] * 2, LENGTHS, generator=seeded(1)))


def test_dropout_is_off_and_the_mode_restored():
    model = tiny(denoiser={**_wide(), "dropout": 0.5}, vae={"latent_dim": 4, "dropout": 0.5}).train()
    one, two = (model.sample(TEXTS, LENGTHS, generator=seeded(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert model.training
    assert model.denoiser.training


def _wide():
    return {"latent_dim": 16, "n_heads": 2, "n_layers": 3, "ff_dim": 24, "max_positions": 400}


@pytest.mark.parametrize(
    ("texts", "lengths", "message"),
    [(TEXTS, [41, 24], "multiples of 4"), (TEXTS, [0, 24], "multiples of 4"), (TEXTS, [24, 24, 24], "2 prompts, 3")],
)
def test_refuses_wrong_lengths(model, texts, lengths, message):
    with pytest.raises(ConfigError, match=message):
        model.sample(texts, torch.tensor(lengths))
