from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.backbones.salad import build, load_authors
from hmu.backbones.salad.authors import merge_lora, split_lora
from hmu.errors import CheckpointError
from tests.checkpoints.opt_file import write_opt

from .conftest import seeded, tiny


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    """A dataset folder as the authors' trainers write it, around a tiny model."""
    model, folder = tiny(text=None, text_width=8), tmp_path / "t2m"
    common = {"activation": "gelu", "dropout": 0.1, "dataset_name": "t2m", "fps": 20}
    options = {
        "vae": {**common, "name": "v", "recon_loss": "l1_smooth", "lambda_kl": 0.03},
        "denoiser": {
            **common, "name": "d", "vae_name": "v", "n_heads": 2, "cond_scale": 7.5, "num_inference_timesteps": 5,
            "prediction_type": "epsilon", "beta_schedule": "scaled_linear", "recon_loss": "l2", "weight_decay": 1e-06,
        },
    }  # fmt: skip
    for key, name in (("vae", "v"), ("denoiser", "d")):
        (folder / name / "model").mkdir(parents=True)
        state = getattr(model, key).state_dict()
        torch.save({key: state, "epoch": 3}, folder / name / "model" / "net_best_fid.tar")
        write_opt(folder / name / "opt.txt", options[key])
    meta = folder / "Comp_v6_KLD005" / "meta"
    meta.mkdir(parents=True)
    np.save(meta / "mean.npy", model.mean.numpy())
    np.save(meta / "std.npy", model.std.numpy())
    return folder


def edit(folder: Path, name: str, key: str, change) -> None:
    path = folder / name / "model" / "net_best_fid.tar"
    state = torch.load(path, weights_only=True)[key]
    torch.save({key: change(dict(state))}, path)


def test_reads_sizes_from_shapes_and_the_rest_from_opt(authors):
    model = load_authors(authors, "d")
    expected = tiny(text=None, text_width=8)
    assert model.denoiser.options.n_layers == 3
    assert model.denoiser.options.ff_dim == 24
    assert model.vae.options.lambda_kl == 0.03
    assert model.diffusion.options.prediction_type == "epsilon"
    assert (model.sampling.steps, model.sampling.guidance) == (5, 7.5)
    assert not model.training
    for name, value in expected.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, model.state_dict()[name]), name
    assert len(model.provenance()["denoiser"]["sha256"]) == 64


@pytest.mark.parametrize("tail", ["d", "d/model/net_best_fid.tar"])
def test_build_takes_a_folder_or_a_file(authors, tail):
    assert build(str(authors / tail), sampling={"steps": 7}).sampling.steps == 7


def test_clip_weights_in_the_file_are_ignored(authors):
    edit(authors, "d", "denoiser", lambda s: s | {"clip_model.model.logit_scale": torch.ones(1)})
    load_authors(authors, "d")


@pytest.mark.parametrize(
    ("alpha", "variant", "scale"), [(None, "default", 1.0), (8.0, "default", 2.0), (None, "upstream", 0.25)]
)
def test_lora_is_merged(authors, alpha, variant, scale):
    linear, base = "transformer.middle_block.cross_attn.Wv", {}

    def inject(state):
        base.update(state)
        for leaf in ("weight", "bias"):
            state[f"{linear}.original_linear.{leaf}"] = state.pop(f"{linear}.{leaf}")
        state[f"{linear}.lora_a"] = torch.randn(4, 16, generator=seeded(1))
        state[f"{linear}.lora_b"] = torch.randn(16, 4, generator=seeded(2))
        return state

    edit(authors, "d", "denoiser", inject)
    model = load_authors(authors, "d", lora_alpha=alpha, variant=variant)
    product = torch.randn(16, 4, generator=seeded(2)) @ torch.randn(4, 16, generator=seeded(1))
    expected = base[f"{linear}.weight"] + scale * product
    torch.testing.assert_close(model.denoiser.state_dict()[f"{linear}.weight"], expected)


def test_half_a_lora_is_refused():
    with pytest.raises(CheckpointError, match="only one of lora_a"):
        split_lora({"x.lora_a": torch.ones(1, 1)})
    assert merge_lora({"x.weight": torch.ones(1)})["x.weight"] == 1


def _drop(state):
    state.pop("word_emb.bias")
    return state


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: edit(f, "d", "denoiser", _drop), "misses 'word_emb.bias'"),
        (lambda f: edit(f, "d", "denoiser", lambda s: s | {"extra": torch.ones(1)}), "holds unknown 'extra'"),
        (
            lambda f: edit(f, "d", "denoiser", lambda s: s | {"word_emb.bias": torch.ones(3)}),
            "another shape for 'word_emb.bias'",
        ),
        (lambda f: shutil.rmtree(f / "v"), "no such VAE folder"),
        (lambda f: shutil.rmtree(f / "d"), "no such model folder"),
        (lambda f: (f / "d" / "opt.txt").unlink(), "no such file"),
        (lambda f: (f / "d" / "model" / "net_best_fid.tar").unlink(), "expected model/net_best_fid.tar"),
        (lambda f: (f / "d" / "model" / "net_best_fid.tar").write_bytes(b"PK\x03\x04 broken"), "truncated"),
        (lambda f: torch.save({"vq_model": {}}, f / "d" / "model" / "net_best_fid.tar"), "MoMask"),
        (lambda f: shutil.copytree(f / "v" / "model", f / "d" / "model", dirs_exist_ok=True), "holds a SALAD VAE"),
        (lambda f: torch.save(Path("/"), f / "d" / "model" / "net_best_fid.tar"), "would run code|Python objects"),
        (lambda f: (f / "Comp_v6_KLD005" / "meta" / "std.npy").unlink(), "missing; the model normalises"),
        (lambda f: (f / "Comp_v6_KLD005" / "meta" / "std.npy").write_bytes(b"no"), "no plain array"),
        (lambda f: np.save(f / "Comp_v6_KLD005" / "meta" / "std.npy", np.zeros(263)), "std.npy: .* each std above 0"),
    ],
)
def test_refuses_in_one_line(authors, break_it, message):
    break_it(authors)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_authors(authors, "d")
    assert "\n" not in str(caught.value)


def test_refuses_a_vae_of_another_width(authors):
    other = tiny(text=None, text_width=8, vae={"latent_dim": 3})
    torch.save({"vae": other.vae.state_dict()}, authors / "v" / "model" / "net_best_fid.tar")
    with pytest.raises(CheckpointError, match="the VAE has 3"):
        load_authors(authors, "d")


@pytest.mark.parametrize("edited", ["LoRA", "ESD", "UCE"])
def test_reads_the_forks_unlearned_checkpoints(shared, edited):
    root = shared("golden/salad/dev/checkpoints/t2m")
    model = build(str(root / f"t2m_denoiser_small_{edited}_kick"))
    base = load_authors(root, "t2m_denoiser_small")
    changed = [
        name
        for name, value in base.denoiser.state_dict().items()
        if not torch.equal(value, model.denoiser.state_dict()[name])
    ]
    assert changed
    if edited != "ESD":
        assert all("_attn.W" in name for name in changed)


@pytest.mark.parametrize(
    "tail", ["momask/HumanML3D/rvq", "momask/HumanML3D/mtrans", "evaluator/t2m/text_mot_match/model/finest.tar"]
)
def test_names_another_family(shared, tail):
    with pytest.raises(CheckpointError, match=r"MoMask|evaluator"):
        build(str(shared(f"checkpoints/{tail}")))
