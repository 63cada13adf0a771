"""The authors' folders; only where the golden vectors are."""

from __future__ import annotations

import shutil

import pytest
import torch

from hmu.backbones.bamm import build
from hmu.backbones.bamm.authors import check_codes, load_transformer
from hmu.backbones.momask import build as build_momask
from hmu.errors import CheckpointError

from .conftest import CODES, network, seeded

ROOT = "golden/bamm/dev/checkpoints/HumanML3D"


def copy(shared, target):
    shutil.copytree(shared(ROOT), target / "HumanML3D")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "HumanML3D"


@pytest.mark.parametrize("name", ["bamm", "bamm_t2mgpt"])
def test_loads_the_authors_folder_unchanged(shared, name):
    model = build(str(shared(f"{ROOT}/{name}")))
    assert (model.name, model.text_width, model.masked.options.max_tokens) == ("bamm", 512, 49)
    assert model.masked.options.blocks == ("t2mgpt" if "gpt" in name else "official")
    assert {"masked", "residual", "rvq"} < set(model.provenance())
    cond = torch.randn(2, 512, generator=seeded())
    from hmu.backbones.tokens.vectors import condition_of

    motion, lengths = model.generate(condition_of(cond), generator=seeded(1))
    assert motion.shape == (2, int(lengths.max()), 263)
    assert torch.isfinite(motion).all()
    again = build(str(shared(f"{ROOT}/{name}/model/base.tar")))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_no_parameter_is_dropped(shared, tmp_path):
    """The published fork drops embeddings and head of every file; here a missing one is refused by name."""
    folder = copy(shared, tmp_path) / "bamm"
    path = folder / "model" / "base.tar"
    content = torch.load(path, weights_only=True)
    net, _ = load_transformer(folder)
    assert torch.equal(net.token_emb.weight, content["t2m_transformer"]["token_emb.weight"])
    del content["t2m_transformer"]["output_process.dense.bias"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"misses 'output_process\.dense\.bias'"):
        build(str(folder))
    del content["t2m_transformer"]["token_emb.weight"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"parameter 'token_emb\.weight' is missing"):
        build(str(folder))


def test_momask_and_bamm_refuse_each_other(shared, tmp_path):
    folder = copy(shared, tmp_path)
    mtrans = shared("golden/momask/dev/checkpoints/HumanML3D/mtrans")
    shutil.copytree(mtrans, folder / "mtrans")
    with pytest.raises(CheckpointError, match=r"no END class: this is MoMask's .* choose backbone=momask"):
        build(str(folder / "mtrans"))
    with pytest.raises(CheckpointError, match="choose backbone=bamm"):
        build_momask(str(folder / "bamm"))


def test_shapes_tell_the_families():
    net = network()
    check_codes(net, "file", CODES)
    with pytest.raises(CheckpointError, match="MoMask's masked transformer"):
        check_codes(net, "file", CODES + 1)
    with pytest.raises(CheckpointError, match="expected 10 and 8 for the tokenizer's 7 codes"):
        check_codes(net, "file", 7)


def test_a_foreign_file_is_named(shared, tmp_path):
    folder = copy(shared, tmp_path)
    shutil.copy(folder / "rtrans" / "model" / "base.tar", folder / "bamm" / "model" / "base.tar")
    with pytest.raises(CheckpointError, match="holds a MoMask residual transformer, expected a BAMM transformer"):
        build(str(folder / "bamm"))


def test_another_tokenizer_is_refused(shared, tmp_path):
    folder = copy(shared, tmp_path)
    path = folder / "rvq" / "model" / "base.tar"
    content = torch.load(path, weights_only=True)
    state = content["vq_model"]
    for name in [n for n in state if n.endswith("codebook")]:
        state[name] = torch.cat([state[name], state[name]])
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="expected 51 and 49 for the tokenizer's 48 codes"):
        build(str(folder / "bamm"))
