"""The reader takes any folder of the layout: cases without their JSON, other names, fewer arrays, other fills."""

from __future__ import annotations

import json
import shutil
import zlib

import numpy as np
import pytest
import torch

from tests.parity.__main__ import main
from tests.parity.case import Case
from tests.parity.copies import change, copy_of, run
from tests.parity.fills import Fill, doubled, filled, fills, rules
from tests.parity.gait_setting import Setting
from tests.parity.guo import whole, widths

WITHOUT_JSON = [
    "salad/unlearn_uce", "momask/rvq", "momask/length", "bamm/bamm_t2mgpt",
    "bamm/e2e", "gaitdynamics/checkpoint", "gaitdynamics/decoder", "gaitdynamics/diffusion", "gaitdynamics/kinematics",
    "evaluators/guo_h3d", "evaluators/guo_decomp", "hmu/uce_rece", "hmu/lcr",
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
    recorded = json.loads((folder / "expected.json").read_text())
    first = next(iter(recorded["cases"].values()))["items"][0]
    first["error"], first["draws"] = "ValueError: empty range", []
    (folder / "expected.json").write_text(json.dumps(recorded))
    line, passed = run(folder)
    assert passed, line
    assert "no vip_words.json" in line
    assert "the authors' reader raised" in line
    assert not run(folder, strict=True)[1]


@pytest.mark.parametrize(
    ("name", "file", "arrays"),
    [
        ("gaitdynamics/trials", "expected.npz", ["0/pos_vec"]),
        ("gaitdynamics/preprocess", "expected.npz", ["unnorm/0/converted_pose", "train/0/pos_vec"]),
        ("evaluators/guo_data", "dataset.npz", ["original_kit/3/motion_first", "original_kit/2/word"]),
        ("hmu/features", "quaternions.npz", ["to_matrix"]),
        ("momask/rtrans", "vectors.npz", ["gen_gumbel/all_indices"]),
        ("salad/topology", "t2m_matrices.npz", ["enc1_adj"]),
        ("salad/unlearn_esd", "vectors.npz", ["pred_trainable_concept"]),
        ("salad/vae_kit", "vectors.npz", ["enc_stage1"]),
    ],
)
def test_optional_arrays_may_be_absent(name, file, arrays, shared, tmp_path):
    system, case = name.split("/")
    folder = copy_of(shared(f"golden/{system}/dev/{case}"), tmp_path)
    change(folder / file, lambda stored: {n: v for n, v in stored.items() if n not in arrays})
    line, passed = run(folder)
    assert passed, line


def test_a_speed_without_its_table_is_said(shared, tmp_path):
    folder = copy_of(shared("golden/gaitdynamics/dev/scripts"), tmp_path) / "speed_sweep"
    (folder / "gen_sweep_1.20ms_68f.csv").unlink()
    line, passed = run(folder)
    assert passed, line
    assert "x_T_0 (no table of its speed)" in line


@pytest.mark.parametrize(("file", "content"), [("case.json", b"{"), ("vectors.npz", b"PK")])
def test_a_broken_file_is_named(file, content, shared, tmp_path):
    folder = copy_of(shared("golden/momask/dev/length"), tmp_path)
    (folder / file).write_bytes(content)
    line, passed = run(folder)
    assert not passed
    assert f"FAIL  CheckpointError: {file}: no " in line


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
    assert Setting.recorded({"schedule": "squaredcos", "predict_epsilon": True}, "x").schedule == "cosine"


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


# -- what the shared cases hold, changed -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["momask/rtrans", "bamm/bamm_t2mgpt"])
def test_a_changed_manifest_fails(name, shared, tmp_path):
    system, case = name.split("/")
    folder = copy_of(shared(f"golden/{system}/dev/{case}"), tmp_path)
    content = json.loads((folder / "manifest_full.json").read_text())
    content["state_dict"]["cond_emb.bias"]["shape"] = [3]
    (folder / "manifest_full.json").write_text(json.dumps(content))
    line, passed = run(folder)
    assert not passed
    assert "1 of" in line
    assert "worst: manifest shape" in line


def test_a_changed_caption_of_a_search_fails(shared, tmp_path):
    folder = copy_of(shared("golden/evaluators/dev/hmu_m2m"), tmp_path)
    recorded = json.loads((folder / "expected.json").read_text())
    recorded["expected"][0]["records"][0]["retrieval"][1]["description"] += "!"
    (folder / "expected.json").write_text(json.dumps(recorded))
    line, passed = run(folder)
    assert not passed
    assert "worst: all/0 retrieval" in line


@pytest.mark.parametrize("name", ["momask/mtrans", "momask/rtrans", "momask/e2e", "hmu/lcr"])
def test_what_no_json_tells_of_a_run_is_found(name, shared, tmp_path):
    """Guidance, filter, temperature and steps; lists of codes that were joined."""
    system, case = name.split("/")
    folder = copy_of(shared(f"golden/{system}/dev/{case}"), tmp_path)
    for path in folder.glob("*.json"):
        path.unlink()
    line, passed = run(folder)
    assert passed, line
    assert "not compared" not in line


def test_a_tokenizer_may_have_other_codes_than_the_one_that_opt_txt_names(shared, tmp_path):
    folder = copy_of(shared("golden/bamm/dev/e2e"), tmp_path)
    source, place = shared("golden/bamm/dev/checkpoints"), folder.parent / "checkpoints"
    place.unlink()
    shutil.copytree(source, place, copy_function=shutil.copyfile)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    family = place / "HumanML3D"
    other = shared("golden/hmu/dev/checkpoints/HumanML3D/rvq")  # of 512 codes
    shutil.copytree(other, family / "rvq_other", copy_function=shutil.copyfile)
    for opt in family.glob("*/opt.txt"):
        opt.write_text(opt.read_text().replace("vq_name: rvq\n", "vq_name: rvq_other\n"))
    assert any("vq_name: rvq_other" in opt.read_text() for opt in family.glob("*/opt.txt"))
    for case in (folder, copy_of(shared("golden/bamm/dev/bamm_t2mgpt"), tmp_path / "again")):
        if case is not folder:
            (case.parent / "checkpoints").unlink()
            (case.parent / "checkpoints").symlink_to(place)
        line, passed = run(case)
        assert passed, line


def test_a_system_without_a_reader_is_said_case_by_case(shared, capsys):
    assert main([str(shared("golden/mdm"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    cases = [path for path in shared("golden/mdm/dev").iterdir() if path.is_dir() and path.name != "checkpoints"]
    assert sum("no reader for mdm yet" in line for line in lines) == len(cases)


def _value(name: str, index: int, size: int, rows: int | None, rule: str) -> float:
    """One number of a filled tensor, written out from the golden vectors' README."""
    seed, scale = zlib.crc32(name.encode()) % 1000, 0.1 if rows is None else (size / rows) ** -0.5
    if rule == "sine":
        return float(scale * np.sin(0.37 * index + seed))
    wave = 43758.5453 * np.sin(12.9898 * index + seed)
    return float(2 * scale * 3**0.5 * (wave - np.floor(wave) - 0.5))


@pytest.mark.parametrize("rule", ["sine", "hash"])
def test_weights_are_filled_by_the_documented_rule(rule):
    like = {
        "a.in_proj_weight": torch.zeros(6, 4),
        "a.in_proj_bias": torch.zeros(6),
        "norm.weight": torch.zeros(3),
        "position_enc.pe": torch.full((2, 1, 2), 7.0),
        "quantizer.layers.1.codebook": torch.zeros(3, 2),
        "steps": torch.zeros(1, dtype=torch.long),
    }
    state = Fill(rule).state(like)
    assert state["a.in_proj_weight"][1, 1] == pytest.approx(_value("a.in_proj_weight", 5, 24, 6, rule))
    assert state["a.in_proj_bias"][2] == pytest.approx(_value("a.in_proj_bias", 2, 6, None, rule))
    assert state["norm.weight"][2] == pytest.approx(1 + _value("norm.weight", 2, 3, None, rule))
    assert (state["position_enc.pe"] == 7).all()
    assert not state["steps"].any()
    name, amplitude = "quantizer.layers.1.codebook", (0.5 if rule == "sine" else 1.7) / 2
    wave = 43758.5453 * np.sin(12.9898 * 3 + zlib.crc32(name.encode()) % 1000)
    assert state[name][1, 1] == pytest.approx(2 * amplitude * (wave - np.floor(wave) - 0.5), abs=1e-6)
