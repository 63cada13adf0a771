"""The golden cases pass, and a corrupted vector makes its case fail."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from tests.parity import bamm, bamm_e2e
from tests.parity.salad_files import Arrays

from .conftest import seeded

KINDS = {**bamm.KINDS, **bamm_e2e.KINDS}
CASES = ["bamm", "bamm_t2mgpt", "e2e", "rtrans_force_mask"]


def runner(case):
    return KINDS[max((kind for kind in KINDS if case.startswith(kind)), key=len)]


def copy(shared, case, target):
    root = shared("golden/bamm/dev")
    shutil.copytree(root / case, target / case)
    shutil.copytree(root / "checkpoints", target / "checkpoints")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / case


@pytest.mark.parametrize("case", CASES)
def test_matches_the_authors(shared, case):
    checks = list(runner(case)(shared(f"golden/bamm/dev/{case}")))
    assert len(checks) > 1
    assert not [check for check in checks if not check.passed]


CORRUPTED = {
    "bamm_t2mgpt": [
        "logits_cond", "attend_cond", "train0/loss", "train0/grad/token_emb.weight", "train1/labels",
        "gen_categorical/pass2_cond_idx", "gen_categorical/ids", "edit2/ids",
    ],
    "e2e": ["gen/base_ids", "gen/all_ids", "eval/pred_len"],
    "rtrans_force_mask": ["all_indices_force_mask"],
}  # fmt: skip

# what is generated from a corrupted array: the second pass replays the recorded choice of places
FOLLOWS = {"eval_pred_len_frames of case.json", "gen_categorical/pass2_ids_out", "gen_categorical/pad_when_end_ids"}


@pytest.mark.parametrize("case", CORRUPTED)
def test_corrupted_vectors_fail_and_no_others(shared, tmp_path, case):
    folder = copy(shared, case, tmp_path)
    arrays = dict(np.load(folder / "vectors.npz"))
    for name in CORRUPTED[case]:
        value = arrays[name].reshape(-1).copy()
        place = value.size // 3
        value[place] = not value[place] if value.dtype == bool else value[place] + 1
        arrays[name] = value.reshape(arrays[name].shape)
    np.savez(folder / "vectors.npz", **arrays)
    failed = {check.name for check in runner(case)(folder) if not check.passed}
    assert failed - FOLLOWS == set(CORRUPTED[case])


def test_arrays_and_files_of_unknown_meaning_fail(shared, tmp_path):
    folder = copy(shared, "rtrans_force_mask", tmp_path)
    np.savez(folder / "vectors.npz", **np.load(folder / "vectors.npz"), surprise=np.ones(2))
    (folder / "surprise.txt").write_text("")
    failed = [check.name for check in runner("rtrans_force_mask")(folder) if not check.passed]
    assert failed == ["file 'surprise.txt' of unknown kind", "array 'surprise' of unknown meaning"]


def test_a_changed_manifest_fails(shared, tmp_path):
    folder = copy(shared, "bamm_t2mgpt", tmp_path)
    path = folder / "manifest_full.json"
    content = json.loads(path.read_text())
    content["state_dict"]["cond_emb.bias"]["shape"] = [3]
    path.write_text(json.dumps(content))
    assert [c.name for c in bamm.bamm(folder) if not c.passed] == ["manifest shape"]


def test_claims_its_own_cases_only(shared):
    assert bamm_e2e.claims(shared("golden/bamm/dev/e2e"))
    assert not bamm_e2e.claims(shared("golden/momask/dev/e2e"))


@torch.no_grad()
def test_full_size_networks_are_filled_by_rule(tmp_path):
    """A filled network of small hyper-parameters, compared with what the same rule gives here."""
    numbers = {"latent_dim": 16, "n_heads": 2, "n_layers": 1, "ff_size": 24, "code_dim": 8, "num_tokens": 12}
    (tmp_path / "dev" / "bamm_t2mgpt").mkdir(parents=True)
    manifest = {"hyper_parameters": {**numbers, "trans": "t2mgpt"}, "state_dict": {}}
    (tmp_path / "dev" / "bamm_t2mgpt" / "manifest_full.json").write_text(json.dumps(manifest))
    folder = tmp_path / "heldout" / "full_hash"
    folder.mkdir(parents=True)
    inputs = {"ids": torch.randint(12, (2, 8), generator=seeded()), "cond": torch.randn(2, 32, generator=seeded(1))}
    arrays = {name: value.numpy() for name, value in inputs.items()}
    probe = folder / "bamm_t2mgpt.npz"
    np.savez(probe, **arrays, logits_causal=np.zeros((2, 13, 9), np.float32))
    net = bamm.model_for(bamm.Case(folder, Arrays(probe), "bamm_t2mgpt"))
    assert net.options.blocks == "t2mgpt"
    assert abs(float(net.token_emb.weight.std()) - 8**-0.5) < 0.05
    arrays["logits_causal"] = net(inputs["ids"], inputs["cond"]).transpose(1, 2).numpy()
    np.savez(probe, **arrays)
    assert [c.name for c in bamm_e2e.full(folder)] == ["bamm_t2mgpt logits_causal"]
    assert all(c.passed for c in bamm_e2e.full(folder))
    np.savez(probe, **{**arrays, "logits_causal": arrays["logits_causal"] + 1})
    assert not any(c.passed for c in bamm_e2e.full(folder))
