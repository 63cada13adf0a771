"""Whole models with tiny weights whose settings are damaged: authors' folders and ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tests.fuzz import mutate
from tests.fuzz.files import Sample, written


def _momask_folder(folder: Path) -> Path:
    from tests.backbones.momask.test_authors import source, write

    return write(source(), folder / "HumanML3D")


def _momask(folder: Path, damaged: str) -> Sample:
    from hmu.backbones.momask import build

    checkpoints = _momask_folder(folder)
    return Sample(checkpoints / damaged / "opt.txt", lambda: build(str(checkpoints / "mtrans")))


def momask_rvq(folder: Path) -> Sample:
    return _momask(folder, "rvq")


def momask_masked(folder: Path) -> Sample:
    return _momask(folder, "mtrans")


def momask_residual(folder: Path) -> Sample:
    return _momask(folder, "rtrans")


def bamm_masked(folder: Path) -> Sample:
    from hmu.backbones.bamm import build
    from tests.authors_names import to_authors
    from tests.backbones.bamm.conftest import CODES, network
    from tests.backbones.momask.test_authors import source, write
    from tests.checkpoints.opt_file import write_opt

    checkpoints = write(
        source(rvq={"codes": CODES, "code_dim": 8, "quantizers": 3, "width": 16, "depth": 1}), folder / "t2m"
    )
    state = to_authors(network(positions=64).state_dict())
    state["cond_emb.weight"] = torch.randn(16, 8)
    (checkpoints / "bamm" / "model").mkdir(parents=True)
    torch.save({"t2m_transformer": state}, checkpoints / "bamm" / "model" / "base.tar")
    options = {
        "n_heads": 2,
        "vq_name": "rvq",
        "dropout": 0.1,
        "max_motion_length": 40,
        "unit_length": 4,
        "trans": "official",
    }
    write_opt(checkpoints / "bamm" / "opt.txt", options)
    return Sample(checkpoints / "bamm" / "opt.txt", lambda: build(str(checkpoints / "bamm")))


def _salad(folder: Path, damaged: str) -> Sample:
    from hmu.backbones.salad import load_authors
    from tests.backbones.salad.conftest import tiny
    from tests.checkpoints.opt_file import write_opt

    model, checkpoints = tiny(text=None, text_width=8), folder / "t2m"
    chains = [list(chain) for chain in model.topology.chains]
    common = {"activation": "gelu", "dropout": 0.1, "dataset_name": "t2m", "fps": 20, "kinematic_chain": chains}
    options = {
        "vae": {**common, "name": "v", "recon_loss": "l1_smooth", "lambda_pos": 0.5, "lambda_kl": 0.1},
        "denoiser": {
            **common, "name": "d", "vae_name": "v", "n_heads": 2, "cond_scale": 7.5, "num_inference_timesteps": 5,
            "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction",
            "beta_schedule": "scaled_linear", "recon_loss": "l2", "cond_drop_prob": 0.1, "max_motion_length": 196,
        },
    }  # fmt: skip
    for key, name in (("vae", "v"), ("denoiser", "d")):
        (checkpoints / name / "model").mkdir(parents=True)
        torch.save({key: getattr(model, key).state_dict()}, checkpoints / name / "model" / "net_best_fid.tar")
        write_opt(checkpoints / name / "opt.txt", options[key])
    meta = checkpoints / "Comp_v6_KLD005" / "meta"
    meta.mkdir(parents=True)
    np.save(meta / "mean.npy", model.mean.numpy())
    np.save(meta / "std.npy", model.std.numpy())
    return Sample(checkpoints / damaged / "opt.txt", lambda: load_authors(checkpoints, "d"))


def salad_vae(folder: Path) -> Sample:
    return _salad(folder, "v")


def salad_denoiser(folder: Path) -> Sample:
    return _salad(folder, "d")


def tmr_authors(folder: Path) -> Sample:
    from hmu.evaluators.tmr import authors as files
    from tests.evaluators.test_tmr import compact, small

    evaluator, run = small(), folder / "run"
    (run / "last_weights").mkdir(parents=True)
    for name in ("motion_encoder", "text_encoder", "motion_decoder"):
        torch.save(getattr(evaluator, name).state_dict(), run / "last_weights" / f"{name}.pt")
    (run / "stats").mkdir()
    torch.save(evaluator.mean, run / "stats" / "mean.pt")
    torch.save(evaluator.std, run / "stats" / "std.pt")
    part = {"ff_size": 12, "num_layers": 2, "num_heads": 2, "dropout": 0.1, "activation": "gelu", "latent_dim": 8}
    config = {
        "run_dir": "outputs/tmr",
        "data": {"text_to_token_emb": {"modelname": "distil"}, "motion_loader": {"normalizer": {"base_dir": "stats"}}},
        "model": {
            "motion_encoder": part, "text_encoder": part, "motion_decoder": part, "vae": True, "temperature": 0.1,
            "threshold_selfsim": 0.8, "lmd": {"recons": 1.0, "latent": 1e-5, "kl": 1e-5, "contrastive": 0.1},
        },
    }  # fmt: skip
    path = written(run / "config.json", json.dumps(config))
    return Sample(path, lambda: files.from_authors(run, text=compact()), mutate.document)


def _ours(folder: Path, save: Callable[[Path], object], load: Callable[[Path], object]) -> Sample:
    save(folder / "model")
    return Sample(folder / "model" / "config.json", lambda: load(folder / "model"), mutate.document)


def tmr_ours(folder: Path) -> Sample:
    from hmu.evaluators.tmr import authors as files
    from tests.evaluators.test_tmr import small

    return _ours(folder, lambda path: small().save_pretrained(path), lambda path: files.build(str(path)))


def guo_ours(folder: Path) -> Sample:
    from hmu.evaluators.guo import build
    from tests.evaluators.test_guo import small

    return _ours(folder, lambda path: small().save_pretrained(path), lambda path: build(str(path)))


def salad_ours(folder: Path) -> Sample:
    from hmu.backbones.salad import build
    from tests.backbones.salad.conftest import tiny

    return _ours(folder, lambda path: tiny().save_pretrained(path), lambda path: build(str(path)))


def momask_ours(folder: Path) -> Sample:
    from hmu.backbones.momask import build
    from tests.backbones.momask.conftest import tiny

    return _ours(folder, lambda path: tiny().save_pretrained(path), lambda path: build(str(path)))


def bamm_ours(folder: Path) -> Sample:
    from hmu.backbones.bamm import build
    from tests.backbones.bamm.conftest import tiny

    return _ours(folder, lambda path: tiny().save_pretrained(path), lambda path: build(str(path)))


def gait_ours(folder: Path) -> Sample:
    from hmu.backbones.gaitdynamics import build
    from tests.backbones.gaitdynamics.conftest import toy

    return _ours(folder, lambda path: toy().save_pretrained(path), lambda path: build(str(path)))


MODELS: dict[str, Callable[[Path], Sample]] = {
    "momask rvq": momask_rvq, "momask masked": momask_masked, "momask residual": momask_residual, "bamm": bamm_masked,
    "salad vae": salad_vae, "salad denoiser": salad_denoiser, "tmr": tmr_authors, "our tmr": tmr_ours,
    "our guo": guo_ours, "our salad": salad_ours, "our momask": momask_ours, "our bamm": bamm_ours,
    "our gaitdynamics": gait_ours,
}  # fmt: skip
