"""SALAD's cases at sizes of our own: VAE, denoiser, sampling and adapters without stored weights, other schedules."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DDIMScheduler

from hmu.backbones.salad.model import Salad
from tests.parity.case import Case
from tests.parity.fills import Fill
from tests.parity.salad import DENOISER_ROWS, LOSS_ROWS, VAE_ROWS
from tests.parity.salad_models import DENOISER, VAE, fill
from tests.parity.salad_sampling import SAMPLING_ROWS, TABLES
from tests.parity.synthetic import Arrays, Writer, answers, manifest, numbers, prompts, store, whole
from tests.parity.unlearn import LATENT_ROWS, LORA_ROWS, LOSS, Adapted, filled_adapters
from tests.parity.unlearn import loss as contrast
from tests.published import backbone

SMALL_VAE: dict[str, Any] = {"latent_dim": 6, "n_extra_layers": 0, "n_layers": 2, "kernel_size": 5}
SMALL: dict[str, Any] = {"latent_dim": 16, "n_heads": 2, "n_layers": 3, "ff_dim": 24, "max_positions": 400}
FRAMES = 6  # latent ones


def _net(system: Path, full: bool, features: int, rule: Fill | None, prefixed: bool = False) -> Salad:
    """A network of the published size or a small one, filled under names with or without the checkpoint's key."""
    vae, net = VAE | ({} if full else SMALL_VAE), DENOISER | ({} if full else SMALL)
    if not full:
        manifest(system, "vae_t2m", vae)
        manifest(system, "denoiser_t2m", net | {"timestep_frequency_dim": 32})
        net["time_features"] = 32
    model = backbone("salad", features=features, text=None, vae=vae, denoiser=net, text_width=512 if full else 24,
                     variant="upstream")  # fmt: skip
    return model.eval() if rule is None else fill(model, rule, prefixed)


def _denoising(model: Salad, seed: int, name: str = "noisy_latent") -> Arrays:
    """Two noised latents, one of them shorter, and prompts."""
    valid = np.arange(FRAMES) < np.array([[FRAMES], [FRAMES - 2]])
    shape = (2, FRAMES, 7, model.vae.options.latent_dim)
    return {name: numbers(seed, *shape), "len_mask": valid, **prompts(seed, 4, 9, model.text_width)}


def vae(system: Path, full: bool) -> Path:
    """KIT's VAE filled by sines, names without a key, no JSON."""
    model = _net(system, full, 251, Fill("sine"))
    inputs = {"x": numbers(3, 2, 4 * FRAMES, 251), "eps": numbers(4, 2, FRAMES, 7, model.vae.options.latent_dim)}
    inputs |= {"odd_x": numbers(5, 1, 23, 251)}
    names = "mu logvar z recon recon_mu loss_kl mu_f64 recon_f64 enc_stage0 enc_stage1 train_loss train_loss_kl odd_mu"
    return store(system / "heldout" / "vae_kit_full", inputs | answers(inputs, model, VAE_ROWS, names))


def denoiser(system: Path, full: bool) -> Path:
    """A denoiser filled by waves of the hash, under names with the checkpoint's key, norms not moved."""
    model = _net(system, full, 263, Fill("hash", moved=False), prefixed=True)
    inputs = _denoising(model, 7) | {"timesteps": np.array([985, 3]), "text_index": np.array([2, 1])}
    inputs |= {"scalar_timestep": np.array(417), "text_index_src": np.array([1, 3])}
    names = "pred pred_f64 pred_nomask pred_scalar_t attn_skel attn_cross block_out timestep_emb pred_fixed_temp"
    return store(system / "heldout" / "denoiser_t2m_hash", inputs | answers(inputs, model, DENOISER_ROWS, names))


def loss(system: Path, full: bool) -> Path:
    """The training loss of networks that are not stored."""
    model = _net(system, full, 263, Fill("sine"))
    latent = (2, FRAMES, 7, model.vae.options.latent_dim)
    inputs = {"motion": numbers(1, 2, 4 * FRAMES, 263), "m_lens": np.array([24, 17]), "vae_eps": numbers(2, *latent),
              "noise": numbers(3, *latent), "timesteps": np.array([12, 700]), "text_index": np.array([1, 2]),
              "drop_uniform": np.array([0.05, 0.5], np.float32), **prompts(4, 3, 9, model.text_width)}  # fmt: skip
    names = "text_used latent_unmasked noisy_latent pred_raw loss_v_prediction loss_epsilon loss_sample"
    return store(system / "heldout" / "denoiser_loss_full", inputs | answers(inputs, model, LOSS_ROWS, names))


def sampling(system: Path, full: bool) -> Path:
    """Guided sampling with another number of steps and another scale, by networks that are not stored."""
    model = _net(system, full, 263, Fill("sine"))
    inputs = _denoising(model, 11, "init_noise") | {"m_lens": np.array([24, 18]), "steps": np.array(7)}
    inputs |= {"cond_scale": np.array(4.0), "text_index": np.array([1, 3]), "trajectory_steps": np.array([0, 5])}
    del inputs["len_mask"]
    inputs["single_latent"] = np.zeros((1, FRAMES, 7, 1))
    names = "latent_mask timesteps trajectory latent_final motion motion_f64 single_latent single_motion"
    outputs = answers(inputs, model, SAMPLING_ROWS, f"{names} single_motion_f64")
    for end in ("", "_f64"):
        alone, batch = outputs[f"single_motion{end}"][0], outputs[f"motion{end}"][0]
        outputs[f"single_vs_batched_per_frame{end}"] = np.abs(batch[: len(alone)] - alone).max(1)
    return store(system / "heldout" / "sampling_t2m_full_sine", inputs | outputs)


def lora(system: Path, full: bool) -> Path:
    """The fork's adapters at rank 3 with another alpha: answers and losses, neither file nor JSON."""
    model = _net(system, full, 263, None)
    adapted: Adapted = filled_adapters(model, 3, Fill("sine"), inside=True)
    latent = (2, FRAMES, 7, model.vae.options.latent_dim)
    inputs = _denoising(model, 5, "x") | {"t": np.array([40, 870]), "x_text_index": np.array([1, 2])}
    inputs |= {"rank": np.array(3), "alpha": np.array(7.0), "lambda_forget": np.array(0.5)}
    for seed, side in enumerate(("forget", "retain")):
        inputs |= {f"{side}_motion": numbers(seed, 2, 4 * FRAMES, 263), f"{side}_vae_eps": numbers(seed + 2, *latent),
                   f"{side}_noise": numbers(seed + 4, *latent), f"{side}_t": whole(seed, 1000, 2),
                   f"{side}_m_lens": np.array([24, 9]), f"{side}_text_index": whole(seed, 4, 2)}  # fmt: skip
    inputs |= answers(inputs, model, LATENT_ROWS, "forget_latent retain_latent")
    names = "pred_base pred_lora_train_scale pred_lora_eval_scale"
    outputs = answers(inputs, adapted, LORA_ROWS, names)
    case, losses = Case(Path(), inputs), dict[str, Any]()
    twin = adapted.injected(adapted.alpha(case))
    for target, betas in product(("vs_noise", "vs_target", "vs_target_masked"), ("linear", "configured")):
        name = re.fullmatch(LOSS, f"loss_{target}_{betas}_betas")
        assert name is not None
        losses |= contrast(case, twin, name)
    return store(system / "heldout" / "unlearn_lora_full", inputs | outputs | losses)


def schedules(system: Path, full: bool) -> Path:
    """Two schedules: squared cosines under the authors' short name, and a line over another range."""
    del full
    shape = (3, 2, 7, 5)
    inputs: Arrays = {"x0": numbers(1, *shape), "noise": numbers(2, *shape), "model_output": numbers(3, *shape),
                      "timesteps": np.array([3, 70, 199])}  # fmt: skip
    for name, kind, ends in (("squaredcos", "squaredcos_cap_v2", ()), ("linear", "linear", (0.001, 0.03))):
        keys = dict(zip(("beta_start", "beta_end"), ends, strict=False))
        theirs = DDIMScheduler(200, beta_schedule=kind, clip_sample=False, **keys)
        tables = ("betas", "alphas_cumprod", "final_alpha_cumprod", "init_noise_sigma")
        inputs |= {f"{name}_{table}": np.asarray(getattr(theirs, table)) for table in tables}
        inputs |= {f"{name}_step_n": np.array(20), f"{name}_step_t": np.array([190, 90, 0])}
        steps = "add_noise velocity add_noise_f64 timesteps_20 step_epsilon_prev step_v_prediction_x0"
        inputs |= answers(inputs, None, TABLES, " ".join(f"{name}_{step}" for step in steps.split()))
    return store(system / "heldout" / "diffusion_200", inputs)


WRITERS: dict[str, tuple[Writer, str]] = {
    "vae": (vae, "mu recon_f64 train_loss"),
    "denoiser": (denoiser, "pred pred_f64 attn_cross"),
    "loss": (loss, "loss_epsilon"),
    "sampling": (sampling, "latent_final motion_f64 timesteps single_vs_batched_per_frame_f64"),
    "lora": (lora, "pred_lora_train_scale loss_vs_target_masked_configured_betas"),
    "schedules": (schedules, "squaredcos_betas squaredcos_timesteps_20 linear_step_epsilon_prev"),
}
