"""Agreement with the authors' TMR; corrupted vectors, other sizes, and the formula case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.data.batch import length_mask
from tests.evaluators.test_parity import copy
from tests.parity import tmr, tmr_full, tmr_metrics

KINDS = {**tmr.KINDS, **tmr_full.KINDS, **tmr_metrics.KINDS}
SYSTEM = "golden/evaluators/dev"


@pytest.mark.parametrize(("name", "least"), [("tmr", 150), ("tmr_metrics", 400), ("hmu_m2m", 40)])
def test_case_passes(name: str, least: int, shared: Callable[[str], Path]) -> None:
    checks = list(KINDS[name](shared(f"{SYSTEM}/{name}")))
    assert len(checks) >= least
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    ("name", "file", "array"),
    [
        ("tmr", "vectors.npz", "motion_enc_f64"),
        ("tmr", "vectors.npz", "decode_out2"),
        ("tmr", "vectors.npz", "nce_t0.1_th0.8"),
        ("tmr", "vectors.npz", "after_step/text_encoder.tokens"),
        ("tmr", "end_to_end.npz", "all_latents"),
        ("tmr_metrics", "vectors.npz", "sim/th0.95/m2t_rank0"),
    ],
)
def test_corrupted_vector_fails(
    name: str, file: str, array: str, shared: Callable[[str], Path], tmp_path: Path
) -> None:
    case = copy(shared(f"{SYSTEM}/{name}"), tmp_path)
    arrays = dict(np.load(case / file))
    arrays[array] = arrays[array] + 1e-3
    np.savez(case / file, **arrays)
    assert any(not check.passed for check in KINDS[name](case))


def test_corrupted_caption_of_a_search_fails(shared: Callable[[str], Path], tmp_path: Path) -> None:
    copy(shared(f"{SYSTEM}/tmr"), tmp_path)
    case = copy(shared(f"{SYSTEM}/hmu_m2m"), tmp_path)
    told = json.loads((case / "expected.json").read_text())
    told["expected"][0]["records"][0]["retrieval"][1]["description"] += "!"
    (case / "expected.json").write_text(json.dumps(told))
    assert [c.name for c in KINDS["hmu_m2m"](case) if not c.passed] == ["all/0 retrieval"]


def full_case(folder: Path, moved: bool) -> Path:
    """A case filled by the documented formula, as the unseen one at published widths is, but small."""
    size = {"latent_dim": 8, "ff_size": 6, "num_layers": 2, "num_heads": 2, "dropout": 0.1, "activation": "gelu"}
    widths = {"motion_encoder": 11, "text_encoder": 7, "motion_decoder": 11}
    model = {part: {**size, "nfeats": width} for part, width in widths.items()}
    shapes = {part: module.state_dict() for part, module in tmr_full.networks(tmr.empty(model)).items()}
    settings = {part: {"heads": 2} for part in widths}
    made = tmr_full.from_parts(tmr_full._filled(shapes, moved), "", settings, unit=False).eval()
    rng = np.random.default_rng(0)
    motion, text = rng.standard_normal((3, 9, 11)).astype(np.float16), rng.standard_normal((3, 5, 7)).astype(np.float16)
    lengths, words = np.array([9, 4, 1]), np.array([2, 5, 3])
    with torch.no_grad():
        mask = length_mask(torch.from_numpy(lengths), 9)
        encoded = made.motion_encoder(torch.from_numpy(motion).float(), mask)
        read = made.text_encoder(torch.from_numpy(text).float(), length_mask(torch.from_numpy(words), 5))
        decoded = made.motion_decoder(encoded[:, 0], mask)
    weight = made.motion_encoder.state_dict()["seqTransEncoder.layers.1.norm1.weight"]
    listed = {"motion_encoder.seqTransEncoder.layers.1.norm1.weight": [float(weight[0]), float(weight[-1])]}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": {"model": model}, "check": listed}))
    np.savez(
        folder / "vectors.npz", motion_f16=motion, text_f16=text, motion_len=lengths, text_len=words,
        motion_enc=encoded.numpy(), text_enc=read.numpy(), decode_z=encoded[:, 0].numpy(),
        decode_out_first=decoded[:, :2].numpy(), mu_text=read[:2, 0].numpy(),
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("moved", [True, False])
def test_formula_case_passes_and_fails_when_corrupted(tmp_path: Path, moved: bool) -> None:
    case = full_case(tmp_path / "tmr_full", moved)
    checks = list(KINDS["tmr_full"](case))
    assert {check.name for check in checks} >= {"motion_enc", "text_enc", "decode_out_first", "mu_text"}
    assert [check for check in checks if not check.passed] == []
    arrays = dict(np.load(case / "vectors.npz"))
    np.savez(case / "vectors.npz", **{**arrays, "novelty": np.zeros(2)})
    assert any(not check.passed for check in KINDS["tmr_full"](case))
    np.savez(case / "vectors.npz", **{**arrays, "text_enc": arrays["text_enc"] + 1e-3})
    assert any(not check.passed for check in KINDS["tmr_full"](case))
