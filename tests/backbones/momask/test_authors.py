from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.backbones.momask import build, load_authors
from hmu.errors import CheckpointError
from hmu.text.clip import ClipTextEncoder
from tests.authors_names import to_authors
from tests.checkpoints.opt_file import write_opt

from .conftest import seeded, tiny

SIZES = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "positions": 64}
AVERAGES = ("code_sum", "code_count")  # of ours; the authors' files do not have them
KEYS = {"rvq": "vq_model", "mtrans": "t2m_transformer", "rtrans": "res_transformer"}


def source(**changes):
    return tiny(text=None, text_width=8, residual={**SIZES, "cond_drop": 0.2}, **changes)


def states(model) -> dict[str, dict[str, torch.Tensor]]:
    rvq = {name: value for name, value in model.rvq.state_dict().items() if not name.endswith(AVERAGES)}
    return {
        "rvq": rvq,
        "mtrans": to_authors(model.masked.state_dict()),
        "rtrans": to_authors(model.residual.state_dict()),
    }


def write(model, folder: Path) -> Path:
    """A dataset folder as the authors' trainers write it."""
    common = {"dataset_name": "HumanML3D", "vq_name": "rvq", "n_heads": 2, "dropout": 0.0, "milestones": "[50000]"}
    options = {
        "rvq": {"dataset_name": "HumanML3D", "vq_norm": "None", "vq_act": "relu", "dilation_growth_rate": 3, "mu": 0.9},
        "mtrans": {**common, "cond_drop_prob": 0.1},
        "rtrans": {**common, "cond_drop_prob": 0.2, "share_weight": True},
    }
    for name, state in states(model).items():
        (folder / name / "model").mkdir(parents=True)
        write_opt(folder / name / "opt.txt", options[name])
        torch.save({KEYS[name]: state, "ep": 3}, folder / name / "model" / "base.tar")
    (folder / "rvq" / "meta").mkdir()
    np.save(folder / "rvq" / "meta" / "mean.npy", model.statistics.mean.numpy())
    np.save(folder / "rvq" / "meta" / "std.npy", model.statistics.std.numpy())
    return folder


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    return write(source(), tmp_path / "HumanML3D")


def change(folder: Path, name: str, how) -> None:
    path = folder / name / "model" / "base.tar"
    content = torch.load(path, weights_only=True)
    torch.save({KEYS[name]: how(dict(content[KEYS[name]]))}, path)


def assert_same(model, expected) -> None:
    for (name, value), (_, other) in zip(model.state_dict().items(), expected.state_dict().items(), strict=True):
        if not name.startswith("length."):
            assert torch.equal(value, other), name


@pytest.mark.parametrize("tail", ["", "mtrans", "mtrans/model/base.tar"])
def test_reads_sizes_from_shapes_and_the_rest_from_opt(authors, tail):
    model = build(str(authors / tail), sampling={"steps": 3}, unlearn="residual")
    expected = source()
    expected.length = None
    assert_same(model, expected)
    assert model.rvq.options.decay == 0.9
    assert (model.rvq.options.depth, model.rvq.options.down, model.rvq.options.norm) == (2, 2, "none")
    assert model.residual.options.cond_drop == 0.2
    assert model.sampling.steps == 3
    assert model.unlearn == "residual"
    assert model.length is None
    assert not model.training
    assert len(model.provenance()["residual"]["sha256"]) == 64
    one, two = (m.sample([""], torch.tensor([24]), steps=3, guidance=1, generator=seeded()) for m in (model, model))
    assert torch.equal(one, two)


def test_our_folder_of_the_authors_model_is_the_same_model(authors, tmp_path):
    model = load_authors(authors)
    model.save_pretrained(tmp_path / "ours")
    assert_same(build(str(tmp_path / "ours")), model)


def test_clip_weights_in_the_file_are_ignored_and_an_estimator_is_found(authors):
    change(authors, "mtrans", lambda state: state | {"clip_model.logit_scale": torch.ones(1)})
    estimator = source().length
    (authors / "length_estimator" / "model").mkdir(parents=True)
    torch.save({"estimator": estimator.state_dict(), "niter": 1}, authors / "length_estimator" / "model" / "finest.tar")
    model = load_authors(authors)
    assert model.length is not None
    assert torch.equal(model.length.output[0].weight, estimator.output[0].weight)


def test_an_unshared_head_keeps_the_authors_doubling(tmp_path):
    model = tiny(text=None, text_width=8, residual={**SIZES, "share_weight": False, "doubled_head": True})
    loaded = load_authors(write(model, tmp_path / "set"))
    assert loaded.residual.options.doubled_head
    arguments = (torch.randn(1, 4, 8), torch.tensor([2]), torch.randn(1, 8))
    torch.testing.assert_close(loaded.residual(*arguments), model.residual(*arguments))


def test_the_residual_folder_is_found_by_its_tokenizer(authors):
    (authors / "rtrans").rename(authors / "tres_nlayer2")
    assert load_authors(authors).provenance()["residual"]["file"].split("/")[-3] == "tres_nlayer2"
    shutil.copytree(authors / "tres_nlayer2", authors / "tres_other")
    with pytest.raises(CheckpointError, match=r"tres_nlayer2, tres_other.*residual_name"):
        load_authors(authors)
    assert load_authors(authors, residual_name="tres_other").residual.quantizers == 3


def _bamm(state):
    for name, rows in (("token_emb.weight", 1), ("output_process.poseFinal.weight", 1)):
        state[name] = torch.cat([state[name], state[name][:rows]])
    state["output_process.poseFinal.bias"] = torch.cat([state["output_process.poseFinal.bias"], torch.zeros(1)])
    return state


def _drop(state):
    state.pop("cond_emb.bias")
    return state


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: change(f, "mtrans", _drop), "misses 'cond_emb.bias'"),
        (lambda f: change(f, "rtrans", lambda s: s | {"extra": torch.ones(1)}), "holds unknown 'extra'"),
        (lambda f: change(f, "mtrans", lambda s: s | {"cond_emb.bias": torch.ones(3)}), "another shape"),
        (lambda f: change(f, "mtrans", _bamm), "holds a BAMM transformer.*backbone=bamm"),
        (lambda f: shutil.rmtree(f / "rvq"), "no such folder"),
        (lambda f: shutil.rmtree(f / "rtrans"), "found none.*residual_name"),
        (lambda f: (f / "mtrans" / "opt.txt").unlink(), "no config.json; give .* opt.txt"),
        (lambda f: (f / "mtrans" / "model" / "base.tar").unlink(), "expected model/net_best_fid.tar"),
        (lambda f: (f / "rtrans" / "model" / "base.tar").write_bytes(b"PK\x03\x04 broken"), "truncated"),
        (lambda f: torch.save({"vae": {}}, f / "rvq" / "model" / "base.tar"), "holds a SALAD VAE.*tokenizer"),
        (lambda f: shutil.copytree(f / "rvq" / "model", f / "mtrans" / "model", dirs_exist_ok=True), "tokenizer"),
        (lambda f: torch.save(Path("/"), f / "rvq" / "model" / "base.tar"), "would run code|Python objects"),
        (lambda f: (f / "rvq" / "meta" / "std.npy").unlink(), "missing; the model normalises|no plain array"),
        (lambda f: (f / "rvq" / "meta" / "std.npy").write_bytes(b"no"), "missing; the model normalises|no plain array"),
        (lambda f: np.save(f / "rvq" / "meta" / "mean.npy", np.zeros(251)), r"shape \(251,\)"),
        (
            lambda f: write_opt(f / "mtrans" / "opt.txt", {"vq_name": "rvq"}),
            "lacks n_heads",
        ),
    ],
)
def test_refuses_in_one_line(authors, break_it, message):
    break_it(authors)
    with pytest.raises(CheckpointError, match=message) as caught:
        build(str(authors / "mtrans") if (authors / "mtrans" / "opt.txt").is_file() else str(authors))
    assert "\n" not in str(caught.value)


def test_a_shared_codebooks_residual_transformer_cannot_be_restored(authors):
    def forget(state):
        return {n: v for n, v in state.items() if "embed" not in n and "output_proj" not in n}

    change(authors, "rtrans", forget)
    with pytest.raises(CheckpointError, match="never stores them"):
        load_authors(authors)


def test_parts_of_different_tokenizers_are_refused(authors, tmp_path):
    other = write(
        source(rvq={"codes": 12, "code_dim": 8, "quantizers": 4, "width": 16, "depth": 2}), tmp_path / "other"
    )
    shutil.copytree(other / "rtrans", authors / "rtrans", dirs_exist_ok=True)
    with pytest.raises(CheckpointError, match="has 4 layers of 12 codes"):
        load_authors(authors)


def test_reads_the_real_layout_and_generates(shared):
    """Weights trained with the authors' classes; CLIP of that layout."""
    root = shared("checkpoints/momask/HumanML3D")
    text = ClipTextEncoder(shared("checkpoints/clip-vit-base-patch32"), output="pooled")
    model = build(str(root), text=text, sampling={"steps": 4})
    lengths = torch.tensor([64, 40])
    motion = model.sample(["a person waves", "a person walks"], lengths, generator=seeded())
    assert motion.shape == (2, 64, model.features)
    assert torch.isfinite(motion).all()
    spread = (motion[0] - model.statistics.mean) / model.statistics.std
    assert 0.3 < float(spread.std()) < 2  # looks like the data it was trained on, not like noise


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("salad/t2m/t2m_vae_gelu", "a SALAD VAE"),
        ("momask/HumanML3D/rvq", "tokenizer"),
        ("momask/HumanML3D/rtrans", "residual transformer"),
    ],
)
def test_names_what_a_wrong_folder_holds(shared, tail, found):
    with pytest.raises(CheckpointError, match=f"holds .*{found}.*expected a MoMask masked transformer"):
        build(str(shared(f"checkpoints/{tail}")))


@pytest.mark.parametrize("name", ["bamm", "bamm_t2mgpt"])
def test_refuses_bamm_by_name(shared, name):
    with pytest.raises(CheckpointError, match=r"holds a BAMM transformer.*backbone=bamm"):
        build(str(shared(f"golden/bamm/dev/checkpoints/HumanML3D/{name}")))
