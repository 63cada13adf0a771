"""Agreement with the authors' evaluator and metrics; a corrupted vector, an unknown file and the formula case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity import guo, guo_data, guo_train, hmu_metrics

KINDS = {**guo.KINDS, **guo_train.KINDS, **guo_data.KINDS, **hmu_metrics.KINDS}
SYSTEM = "golden/evaluators/dev"
CASES = ["guo_h3d", "guo_kit", "guo_match_train", "guo_decomp", "guo_data", "guo_metrics", "hmu_eval", "hmu_ncs"]


def copy(case: Path, target: Path) -> Path:
    """A writable copy."""
    shutil.copytree(case, target / case.name, copy_function=shutil.copyfile)
    for path in (target / case.name, *(target / case.name).rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / case.name


@pytest.mark.parametrize("name", CASES)
def test_case_passes(name: str, shared: Callable[[str], Path]) -> None:
    checks = list(KINDS[name](shared(f"{SYSTEM}/{name}")))
    assert checks
    assert [check for check in checks if not check.passed] == []


def test_metrics_folder_passes(shared: Callable[[str], Path]) -> None:
    checks = list(KINDS["metrics"](shared("golden/hmu/dev/metrics")))
    assert len(checks) > 100
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("guo_kit", "co_motion"),
        ("guo_kit", "te_out_f64"),
        ("guo_match_train", "update_losses"),
        ("guo_match_train", "after/text_encoder.hidden"),
        ("guo_decomp", "recon"),
        ("guo_metrics", "matching_each"),
    ],
)
def test_corrupted_vector_fails(name: str, array: str, shared: Callable[[str], Path], tmp_path: Path) -> None:
    case = copy(shared(f"{SYSTEM}/{name}"), tmp_path)
    arrays = dict(np.load(case / "vectors.npz"))
    arrays[array] = arrays[array] + 1e-3
    np.savez(case / "vectors.npz", **arrays)
    assert any(not check.passed for check in KINDS[name](case))


def test_unknown_file_in_the_metrics_folder_fails(shared: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "novelty.npz").write_bytes(b"")
    assert any(not check.passed for check in KINDS["metrics"](tmp_path / "metrics"))


def full_case(folder: Path) -> Path:
    """A case filled by the documented formula, as the unseen full-width ones are, at small widths."""
    config = {
        "dim_pose": 35, "dim_word": 6, "dim_text_hidden": 8, "dim_motion_hidden": 9, "dim_movement_enc_hidden": 7,
        "dim_movement_latent": 5, "dim_coemb_hidden": 4,
    }  # fmt: skip
    modules = guo._full_modules(config)
    for part, module in modules.items():
        module.load_state_dict({n: guo.formula(f"{part}.{n}", v.shape).float() for n, v in module.state_dict().items()})
        module.eval()
    rng = np.random.default_rng(0)
    motions = (40 * rng.standard_normal((3, 24, 35))).astype(np.float16)
    words, classes = rng.standard_normal((3, 22, 6)).astype(np.float16), rng.integers(0, 15, (3, 22))
    lengths, counts, order = np.array([20, 24, 8]), np.array([22, 9, 4]), np.array([1, 0, 2])
    with torch.no_grad():
        tokens = modules["movement_encoder"](torch.from_numpy(motions).float()[..., :-4])
        motion = modules["motion_encoder"](tokens, torch.from_numpy(lengths // 4))
        onehot = torch.nn.functional.one_hot(torch.from_numpy(classes), 15).float()
        text = modules["text_encoder"](torch.from_numpy(words).float(), onehot, torch.from_numpy(counts))
        inputs = torch.from_numpy(rng.standard_normal((2, 6, 5))).float()
        direct = modules["motion_encoder"](inputs, torch.tensor([6, 2]))
    weight = modules["movement_encoder"].state_dict()["main.0.weight"].flatten()
    config["check"] = {"movement_encoder.main.0.weight": [float(weight[0]), float(weight[-1])]}  # type: ignore[assignment]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    np.savez(
        folder / "vectors.npz", motions_f16=motions, word_f16=words, pos_index=classes, lengths=lengths,
        cap_lens=counts,
        order=order, co_motion=motion.numpy()[order], co_text=text.numpy()[order], mv_out_first2=tokens[:, :2].numpy(),
        me_in=inputs.numpy(), me_lens=np.array([6, 2]), me_out=direct.numpy(),
    )  # fmt: skip
    return folder


def test_formula_case_passes_and_fails_when_corrupted(tmp_path: Path) -> None:
    case = full_case(tmp_path / "guo_h3d_full")
    checks = list(KINDS["guo_h3d_full"](case))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 5
    config = json.loads((case / "config.json").read_text())
    config["check"]["movement_encoder.main.0.weight"][0] += 1e-3
    (case / "config.json").write_text(json.dumps(config))
    assert any(not check.passed for check in KINDS["guo_h3d_full"](case))
