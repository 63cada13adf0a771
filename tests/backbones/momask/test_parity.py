"""The golden cases pass, a corrupted vector makes its case fail, and networks without stored weights are filled."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.backbones.momask.encoder import to_authors
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import TransformerOptions
from tests import published
from tests.parity import momask_full, momask_masked, momask_residual, momask_rvq
from tests.parity.momask_files import fill_by_rule, filled_state

KINDS = {**momask_rvq.KINDS, **momask_masked.KINDS, **momask_residual.KINDS, **momask_full.KINDS}
CASES = ["rvq", "rvq_train", "mtrans", "rtrans", "rtrans_noshare", "length", "e2e"]


def copy(shared, case: str, target: Path) -> Path:
    root = shared("golden/momask/dev")
    for name in (case, "checkpoints"):
        shutil.copytree(root / name, target / name)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / case


@pytest.mark.parametrize("case", CASES)
def test_matches_the_authors(shared, case):
    checks = list(KINDS[case](shared(f"golden/momask/dev/{case}")))
    assert len(checks) >= 4
    assert not [check for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("case", "array"),
    [
        ("rvq", "indices"),
        ("rvq", "decoded_partial"),
        ("rvq_train", "step1/codebook_q2"),
        ("mtrans", "gen_categorical/ids"),
        ("mtrans", "edit_inbetween/step2_input_ids"),
        ("rtrans", "q2_logits_scale5"),
        ("rtrans_noshare", "train/grad/output_proj_bias"),
        ("length", "logits"),
        ("e2e", "motion"),
    ],
)
def test_a_corrupted_vector_fails(shared, tmp_path, case, array):
    folder = copy(shared, case, tmp_path)
    arrays = dict(np.load(folder / "vectors.npz"))
    value = arrays[array].reshape(-1)
    value[value.size // 2] += 1
    np.savez(folder / "vectors.npz", **{**arrays, array: value.reshape(arrays[array].shape)})
    failed = [check.name for check in KINDS[case](folder) if not check.passed]
    assert any(array in name for name in failed)


def test_unknown_arrays_and_files_fail(shared, tmp_path):
    folder = copy(shared, "length", tmp_path)
    np.savez(folder / "vectors.npz", **np.load(folder / "vectors.npz"), surprise=np.ones(2))
    (folder / "strange.bin").write_bytes(b"")
    failed = [check.name for check in momask_masked.length(folder) if not check.passed]
    assert failed == ["file 'strange.bin' of unknown kind", "array 'surprise' of unknown meaning"]


def test_a_changed_manifest_fails(shared, tmp_path):
    folder = copy(shared, "rtrans", tmp_path)
    path = folder / "manifest_full.json"
    content = json.loads(path.read_text())
    content["state_dict"]["cond_emb.bias"]["shape"] = [3]
    path.write_text(json.dumps(content))
    assert [c.name for c in KINDS["rtrans"](folder) if not c.passed] == ["manifest shape"]


# -- networks of the published size ------------------------------------------------------------------------
def value(name: str, index: int, size: int, rows: int | None, rule: str) -> float:
    """One number of a filled tensor, written out from the golden vectors' README."""
    seed = zlib.crc32(name.encode()) % 1000
    s = 0.1 if rows is None else (size / rows) ** -0.5
    if rule == "sine":
        return float(s * np.sin(0.37 * index + seed))
    wave = 43758.5453 * np.sin(12.9898 * index + seed)
    return float(2 * s * 3**0.5 * (wave - np.floor(wave) - 0.5))


@pytest.mark.parametrize("rule", ["sine", "hash"])
def test_weights_are_filled_by_the_documented_rule(rule):
    state = {
        "a.in_proj_weight": torch.zeros(6, 4),
        "a.in_proj_bias": torch.zeros(6),
        "norm.weight": torch.zeros(3),
        "position_enc.pe": torch.full((2, 1, 2), 7.0),
        "quantizer.layers.1.codebook": torch.zeros(3, 2),
        "steps": torch.zeros(1, dtype=torch.long),
    }
    filled = filled_state(state, rule)
    assert filled["a.in_proj_weight"][1, 1] == pytest.approx(value("a.in_proj_weight", 5, 24, 6, rule))
    assert filled["a.in_proj_bias"][2] == pytest.approx(value("a.in_proj_bias", 2, 6, None, rule))
    assert filled["norm.weight"][2] == pytest.approx(1 + value("norm.weight", 2, 3, None, rule))
    assert (filled["position_enc.pe"] == 7).all()
    assert not filled["steps"].any()
    name, amplitude = "quantizer.layers.1.codebook", (0.5 if rule == "sine" else 1.7) / 2
    wave = 43758.5453 * np.sin(12.9898 * 3 + zlib.crc32(name.encode()) % 1000)
    assert filled[name][1, 1] == pytest.approx(2 * amplitude * (wave - np.floor(wave) - 0.5), abs=1e-6)


@pytest.fixture
def full_size(tmp_path: Path) -> Path:
    """A folder without weights, whose size a manifest beside it tells."""
    numbers = {"latent_dim": 16, "n_heads": 2, "n_layers": 1, "ff_size": 24, "code_dim": 8}
    (tmp_path / "mtrans").mkdir()
    (tmp_path / "mtrans" / "manifest_full.json").write_text(json.dumps({"hyper_parameters": numbers}))
    options = published.options(TransformerOptions, latent_dim=16, n_heads=2, n_layers=1, ff_size=24)
    net = fill_by_rule(MaskedTransformer(6, 8, 5, options), "hash")
    assert to_authors(net.state_dict())["seqTransEncoder.layers.0.self_attn.in_proj_weight"].shape == (48, 16)
    ids, text = torch.tensor([[1, 2, 3]]), torch.ones(1, 5)
    (tmp_path / "full_hash").mkdir()
    arrays = {"tf_ids": ids, "cond": text, "padding_mask": ids > 9, "logits": net(ids, text).detach().transpose(1, 2)}
    np.savez(tmp_path / "full_hash" / "mtrans.npz", **{n: x.numpy() for n, x in arrays.items()})
    return tmp_path / "full_hash"


def test_a_network_of_the_published_size_is_compared(full_size):
    checks = list(momask_full.full(full_size))
    assert [check.name for check in checks] == ["mtrans logits"]
    assert checks[0].passed
    with np.load(full_size / "mtrans.npz") as stored:
        arrays = dict(stored)
    np.savez(full_size / "mtrans.npz", **{**arrays, "logits": arrays["logits"] + 0.01})
    (full_size / "other.npz").write_bytes(b"")
    failed = [check.name for check in momask_full.full(full_size) if not check.passed]
    assert failed == ["mtrans logits", "file 'other.npz' of unknown kind"]
