"""The golden cases agree in every array; one changed value, in any kind of case, fails."""

from __future__ import annotations

import pytest

from tests.parity.copies import copy_of, run, spoil

CASES = {
    "salad": ["vae_kit", "denoiser_kit", "denoiser_loss_t2m", "diffusion", "topology", "clip_text", "unlearn_esd",
              "unlearn_uce"],
    "momask": ["rvq", "rvq_train", "mtrans", "rtrans", "rtrans_noshare", "length", "e2e"],
    "bamm": ["bamm_t2mgpt", "e2e", "rtrans_force_mask"],
    "gaitdynamics": ["columns", "checkpoint", "decoder", "kinematics", "optim", "trials", "preprocess"],
    "evaluators": ["guo_h3d", "guo_kit", "guo_match_train", "guo_decomp", "guo_data", "guo_metrics", "hmu_eval",
                   "hmu_ncs", "hmu_m2m", "tmr_metrics"],
    "hmu": ["bvh", "dataset", "features", "lcr", "metrics", "opt", "splits", "uce_rece"],
}  # fmt: skip
SLOW = {"salad": ["vae_t2m", "denoiser_t2m", "sampling_t2m", "sampling_kit", "unlearn_lora"], "bamm": ["bamm"],
        "gaitdynamics": ["diffusion", "lora", "scripts"], "evaluators": ["tmr"]}  # fmt: skip
SPOILT = {
    "salad/vae_kit": ["recon", "mu_f64"],
    "salad/denoiser_kit": ["attn_cross"],
    "salad/denoiser_loss_t2m": ["loss_epsilon"],
    "salad/diffusion": ["scaled_linear_timesteps_50", "linear_step_sample_x0"],
    "salad/unlearn_esd": ["formula_loss_masked_zeroed"],
    "salad/unlearn_uce": ["pred_after"],
    "salad/clip_text": ["word_emb"],
    "momask/rvq": ["indices", "decoded_partial"],
    "momask/rvq_train": ["step1/codebook_q2"],
    "momask/mtrans": ["gen_categorical/ids", "gen_greedy/step2_input_ids", "train/labels"],
    "momask/rtrans": ["q2_logits_scale5"],
    "momask/rtrans_noshare": ["train/grad/output_proj_bias"],
    "momask/length": ["logits"],
    "momask/e2e": ["motion"],
    "bamm/bamm_t2mgpt": ["attend_cond", "train0/loss", "edit2/ids"],
    "bamm/e2e": ["gen/all_ids"],
    "bamm/rtrans_force_mask": ["all_indices_force_mask"],
    "gaitdynamics/kinematics": ["fk/real/joints"],
    "gaitdynamics/optim": ["p"],
    "gaitdynamics/checkpoint": ["out"],
    "evaluators/guo_kit": ["co_motion", "te_out_f64"],
    "evaluators/guo_match_train": ["update_losses", "after/text_encoder.hidden"],
    "evaluators/guo_decomp": ["recon"],
    "evaluators/guo_metrics": ["matching_each"],
    "evaluators/tmr_metrics": ["sim/th0.95/m2t_rank0"],
    "hmu/bvh": ["remove_fs_out"],
    "hmu/dataset": ["eval_HumanML3D_unit4__motion_0"],
    "hmu/lcr": ["orth_alpha07__new_rows"],
}


def cases(table):
    return [f"{system}/{name}" for system, names in table.items() for name in names]


@pytest.mark.parametrize("name", [*cases(CASES), *(pytest.param(n, marks=pytest.mark.slow) for n in cases(SLOW))])
def test_every_array_agrees(name, shared):
    system, case = name.split("/")
    line, passed = run(shared(f"golden/{system}/dev/{case}"), strict=True)
    assert passed, line


@pytest.mark.parametrize(("name", "array"), [(name, array) for name, arrays in SPOILT.items() for array in arrays])
def test_one_changed_value_fails(name, array, shared, tmp_path):
    system, case = name.split("/")
    folder = copy_of(shared(f"golden/{system}/dev/{case}"), tmp_path)
    spoil(folder / "vectors.npz", array)
    line, passed = run(folder)
    assert not passed, line
    assert "comparisons, worst" in line, line
