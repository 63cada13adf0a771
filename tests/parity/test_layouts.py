"""The reader takes any folder of the layout: cases without their JSON, other names, fewer arrays, other fills."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.parity.case import Case
from tests.parity.copies import change, copy_of, run
from tests.parity.fills import Fill, doubled, filled, fills, rules
from tests.parity.gait_setting import Setting
from tests.parity.guo import whole, widths

WITHOUT_JSON = [
    "salad/unlearn_uce", "momask/rvq", "momask/length", "bamm/bamm_t2mgpt",
    "bamm/e2e", "gaitdynamics/checkpoint", "gaitdynamics/decoder", "gaitdynamics/kinematics", "evaluators/guo_h3d",
    "evaluators/guo_decomp", "hmu/uce_rece", "hmu/lcr",
]  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_JSON)
def test_a_case_without_its_json_is_read(name, shared, tmp_path):
    system, case = name.split("/")
    folder = copy_of(shared(f"golden/{system}/dev/{case}"), tmp_path)
    for path in folder.glob("*.json"):
        path.unlink()
    line, passed = run(folder)
    assert passed, line


def test_optional_files_may_be_absent(shared, tmp_path):
    folder = copy_of(shared("golden/hmu/dev/dataset"), tmp_path)
    (folder / "vip_words.json").unlink()
    told = json.loads((folder / "expected.json").read_text())
    first = next(iter(told["cases"].values()))["items"][0]
    first["error"], first["draws"] = "ValueError: empty range", []
    (folder / "expected.json").write_text(json.dumps(told))
    line, passed = run(folder)
    assert passed, line
    assert "no vip_words.json" in line
    assert "the authors' reader raised" in line
    assert not run(folder, strict=True)[1]


@pytest.mark.parametrize(
    ("name", "file", "arrays"),
    [
        ("trials", "expected.npz", ["0/pos_vec"]),
        ("preprocess", "expected.npz", ["unnorm/0/converted_pose", "train/0/pos_vec"]),
    ],
)
def test_optional_arrays_may_be_absent(name, file, arrays, shared, tmp_path):
    folder = copy_of(shared(f"golden/gaitdynamics/dev/{name}"), tmp_path)
    change(folder / file, lambda stored: {n: v for n, v in stored.items() if n not in arrays})
    line, passed = run(folder)
    assert passed, line


def test_unknown_files_and_arrays_are_said_and_fail_when_strict(shared, tmp_path):
    folder = copy_of(shared("golden/momask/dev/length"), tmp_path, "length_other_48_30")
    change(folder / "vectors.npz", lambda stored: {"surprise": np.ones(2), **dict(reversed(stored.items()))})
    (folder / "notes.bin").write_bytes(b"")
    line, passed = run(folder)
    assert passed, line
    assert "surprise" in line
    assert "notes.bin" in line
    assert not run(folder, strict=True)[1]


def test_decoded_may_belong_to_ids_of_its_own(shared, tmp_path):
    folder = copy_of(shared("golden/momask/dev/rvq"), tmp_path)

    def edit(stored):
        stored["dec_indices"] = stored.pop("indices_partial")
        stored["decoded"] = stored.pop("decoded_partial")
        del stored["decoded_first2"], stored["latent_from_indices"]

    change(folder / "vectors.npz", edit)
    line, passed = run(folder, strict=True)
    assert passed, line


def test_lengths_stand_for_the_padding_mask(shared, tmp_path):
    folder = copy_of(shared("golden/momask/dev/mtrans"), tmp_path)
    change(folder / "vectors.npz", lambda stored: {n: v for n, v in stored.items() if n != "padding_mask"})
    line, passed = run(folder)
    assert passed, line


def test_a_training_case_is_told_by_its_steps(shared, tmp_path):
    folder = copy_of(shared("golden/momask/dev/rvq_train"), tmp_path, "rvq_other_train")
    line, passed = run(folder, strict=True)
    assert passed, line


def test_widths_may_be_text(tmp_path):
    assert [whole(x) for x in (7, "512", "512 (published)", None)] == [7, 512, 512, None]
    case = Case(tmp_path, {"word": np.zeros((1, 2, 9))}, facts={"dim_text_hidden": "16", "note": "motion hidden: 24"})
    found = widths(case)
    assert (found["dim_text_hidden"], found["dim_motion_hidden"], found["dim_word"]) == (16, 24, 9)


def test_settings_in_names():
    assert Setting.named("ddim_n60_sqrtlinear_cols").timesteps == 60
    assert Setting.named("ddim_n60_sqrtlinear_cols").schedule == "sqrt_linear"
    assert Setting.named("ddim_respaced_50_cosine").steps == 50
    assert Setting.named("eps_clip").noise
    assert Setting.named("eps_clip").clip
    assert Setting.told({"schedule": "squaredcos", "predict_epsilon": True}, "x").schedule == "cosine"


# -- networks that are not stored --------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", ["sine", "hash", "random"])
def test_fills_are_the_documented_ones_and_kept_in_double(rule):
    net = filled(torch.nn.Linear(3, 2), Fill(rule, "part."))
    expected = Fill(rule, "part.").values("weight", (2, 3))
    np.testing.assert_array_equal(net.weight.detach().numpy(), expected.astype(np.float32))
    precise, rounded = doubled(net)
    np.testing.assert_array_equal(precise.weight.detach().numpy(), expected)
    assert not torch.equal(precise.weight, rounded.weight)
    assert [fill.rule for fill in fills("full_sine")] == ["sine"]
    assert rules("full") == ["sine", "hash", "random"]
