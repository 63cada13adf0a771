"""The golden cases pass, and a corrupted vector makes its case fail."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.parity import salad, salad_sampling

KINDS = {**salad.KINDS, **salad_sampling.KINDS}
CASES = [
    "vae_t2m", "vae_kit", "denoiser_t2m", "denoiser_kit", "denoiser_loss_t2m",
    "diffusion", "sampling_t2m", "topology",
]  # fmt: skip


def runner(case):
    return KINDS[max((kind for kind in KINDS if case.startswith(kind)), key=len)]


def copy(shared, case, target):
    root = shared("golden/salad/dev")
    shutil.copytree(root / case, target / case)
    shutil.copytree(root / "checkpoints", target / "checkpoints")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / case


@pytest.mark.parametrize("case", CASES)
def test_matches_the_authors(shared, case):
    checks = list(runner(case)(shared(f"golden/salad/dev/{case}")))
    assert len(checks) > 5
    assert not [check for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("case", "array"),
    [("vae_kit", "recon"), ("denoiser_kit", "attn_cross"), ("denoiser_loss_t2m", "loss_epsilon"),
     ("diffusion", "scaled_linear_timesteps_50"), ("sampling_t2m", "motion")],
)  # fmt: skip
def test_a_corrupted_vector_fails(shared, tmp_path, case, array):
    folder = copy(shared, case, tmp_path)
    arrays = dict(np.load(folder / "vectors.npz"))
    value = arrays[array].reshape(-1)
    value[value.size // 2] += 1
    np.savez(folder / "vectors.npz", **{**arrays, array: value.reshape(arrays[array].shape)})
    failed = [check.name for check in runner(case)(folder) if not check.passed]
    assert any(array in name for name in failed)


def test_an_array_of_unknown_meaning_fails(shared, tmp_path):
    folder = copy(shared, "vae_kit", tmp_path)
    np.savez(folder / "vectors.npz", **np.load(folder / "vectors.npz"), surprise=np.ones(2))
    assert [c.name for c in salad.vae(folder) if not c.passed] == ["array 'surprise' of unknown meaning"]


def test_a_changed_manifest_fails(shared, tmp_path):
    folder = copy(shared, "denoiser_t2m", tmp_path)
    path = folder / "manifest_full.json"
    content = json.loads(path.read_text())
    content["state_dict"]["word_emb.bias"]["shape"] = [3]
    path.write_text(json.dumps(content))
    assert [c.name for c in salad.denoiser(folder) if not c.passed] == ["manifest shape"]


def test_the_checkpoint_is_found_among_others(shared, tmp_path):
    """A second VAE of the same sizes with other weights does not confuse the case."""
    folder = copy(shared, "vae_kit", tmp_path)
    import torch

    original = tmp_path / "checkpoints" / "kit" / "kit_vae_gelu"
    shutil.copytree(original, original.with_name("a_vae"))
    path = original.with_name("a_vae") / "model" / "net_best_fid.tar"
    state = torch.load(path, weights_only=True)
    state["vae"]["dist.bias"] += 1
    torch.save(state, path)
    assert all(check.passed for check in salad.vae(folder))
