"""SALAD's schedule, guided sampling and body graphs against the authors' code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.salad.attention import AttentionMaps
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import ScheduleOptions
from hmu.backbones.salad.topology import BODY_PARTS, HALF_LIMBS, Topology
from hmu.data.batch import length_mask
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import (
    DOUBLE,
    SAMPLING,
    Arrays,
    deviation,
    latent_and_text,
    models,
    pick,
    prompts,
    vectors,
)


def diffusion(case: Path) -> Iterator[Check]:
    """Tables, noising, velocities, time steps and single sampler steps of every stored schedule."""
    arrays, strange = vectors(case)
    yield from strange
    names = [name.removesuffix("_alphas_cumprod") for name in arrays if name.endswith("_alphas_cumprod")]
    if not names:
        yield Check("no schedule stored", float("inf"), 0.0)
    for name in names:
        yield from _schedule(name, arrays)
    yield from arrays.unread()


def _schedule(name: str, arrays: Arrays) -> Iterator[Check]:
    betas = arrays[f"{name}_betas"]
    start, end = (float(f"{beta:.5g}") for beta in (betas[0], betas[-1]))

    ends = {"beta_start": start, "beta_end": end}
    options = published.options(ScheduleOptions, timesteps=len(betas), beta_schedule=name, **ends)
    process = Diffusion(options)
    scheduler = process.scheduler("DDIMScheduler")
    for key in ("betas", "alphas_cumprod", "final_alpha_cumprod", "init_noise_sigma"):
        if f"{name}_{key}" in arrays:
            yield compare(f"{name}_{key}", getattr(scheduler, key), arrays[f"{name}_{key}"], 1e-7)
    time = arrays.tensor("timesteps")
    for suffix, dtype, tolerance in (("", torch.float32, 1e-6), ("_f64", torch.float64, DOUBLE)):
        clean, noise = arrays.tensor("x0", dtype), arrays.tensor("noise", dtype)
        for key, value in (("add_noise", process.add), ("velocity", process.velocity)):
            full = f"{name}_{key}{suffix}"
            if full in arrays:
                yield compare(full, value(clean, noise, time), arrays[full], tolerance)
    for full in [n for n in arrays if re.fullmatch(rf"{re.escape(name)}_timesteps_\d+", n)]:
        scheduler.set_timesteps(int(full.rsplit("_", 1)[1]))
        yield exact(full, scheduler.timesteps.numpy(), arrays[full])
    if f"{name}_step_n" in arrays:
        yield from _scheduler_steps(name, options, arrays)


def _scheduler_steps(name: str, options: ScheduleOptions, arrays: Arrays) -> Iterator[Check]:
    count, times = int(arrays[f"{name}_step_n"]), arrays[f"{name}_step_t"]
    answers, current = arrays.tensor("model_output"), arrays.tensor("x0")
    for full in [n for n in arrays if re.fullmatch(rf"{re.escape(name)}_step_\w+_prev", n)]:
        kind = full.removeprefix(f"{name}_step_").removesuffix("_prev")
        scheduler = Diffusion(replace(options, prediction_type=kind)).scheduler("DDIMScheduler")
        scheduler.set_timesteps(count)
        steps = [scheduler.step(answers[i], int(t), current[i]) for i, t in enumerate(times)]
        yield compare(full, torch.stack([s.prev_sample for s in steps]), arrays[full], 1e-6)
        clean = full.removesuffix("_prev") + "_x0"
        if clean in arrays:
            yield compare(clean, torch.stack([s.pred_original_sample for s in steps]), arrays[clean], 1e-6)


def sampling(case: Path) -> Iterator[Check]:
    """Guided generation of a batch and of one clip, with the authors' decoder that reads padding."""
    arrays, strange = vectors(case)
    yield from strange
    steps, scale = int(arrays["steps"]), float(arrays["cond_scale"])
    noise = arrays.tensor("init_noise")

    def fits(model: Salad) -> bool:
        shape = (noise.shape[-1], arrays["text_emb"].shape[-1])
        layers = (model.denoiser.options.n_layers, model.denoiser.options.n_heads)
        maps = arrays["single_attn_cross_last"].shape[1:3] if "single_attn_cross_last" in arrays else layers
        return model.features == arrays["motion"].shape[-1] and latent_and_text(model) == shape and layers == maps

    def first(model: Salad) -> float:
        _guide(model, arrays, steps, scale)
        return deviation(_batch(model, arrays)[0], arrays["latent_final"])

    with torch.no_grad():
        model = pick(case, models(case), fits, first)
        _guide(model, arrays, steps, scale)
        scheduler = model.diffusion.scheduler("DDIMScheduler")
        scheduler.set_timesteps(steps)
        yield exact("timesteps", scheduler.timesteps.numpy(), arrays["timesteps"])
        yield from _batched(model, arrays)
        if "single_latent" in arrays:
            yield from _single(model, arrays, int(scheduler.timesteps[-1]))
        if "motion_noguidance_authors" in arrays:
            _guide(model, arrays, steps, 1.0)
            motion = model.vae.decode(_batch(model, arrays)[0])
            yield compare("motion_noguidance_authors", motion, arrays["motion_noguidance_authors"], SAMPLING)
        if "motion_f64" in arrays:
            model.double()
            _guide(model, arrays, steps, scale)
            latent = _batch(model, arrays, torch.float64)[0]
            yield compare("motion_f64", model.vae.decode(latent), arrays["motion_f64"], 1e-7)
    yield from arrays.unread()


def _guide(model: Salad, arrays: Arrays, steps: int, scale: float) -> None:
    """Set what ``opt.txt`` would: steps and guidance, and the stored empty prompt."""
    model.sampling = replace(model.sampling, steps=steps, guidance=scale)
    empty = prompts(arrays, np.array([0]), model.mean.dtype)
    model.empty_condition = lambda: empty  # type: ignore[method-assign]


def _batch(model: Salad, arrays: Arrays, dtype: torch.dtype = torch.float32) -> tuple[Tensor, list[Tensor]]:
    seen: list[Tensor] = []
    lengths = model.latent_lengths(arrays.tensor("m_lens"))
    noise = arrays.tensor("init_noise", dtype) * length_mask(lengths, arrays["init_noise"].shape[1])[:, :, None, None]
    texts = prompts(arrays, arrays["text_index"], dtype)
    latent = model.denoise(noise, texts, lengths, observe=lambda _, x: seen.append(x))
    return latent, seen


def _batched(model: Salad, arrays: Arrays) -> Iterator[Check]:
    latent, seen = _batch(model, arrays)
    lengths = arrays.tensor("m_lens")
    mask = length_mask(model.latent_lengths(lengths), latent.shape[1])
    motion = model.vae.decode(latent)
    yield exact("latent_mask", mask.numpy(), arrays["latent_mask"])
    yield compare("latent_final", latent, arrays["latent_final"], SAMPLING)
    if "trajectory" in arrays:
        stored = torch.stack([seen[int(i)] for i in arrays["trajectory_steps"]])
        yield compare("trajectory", stored, arrays["trajectory"], SAMPLING)
    yield compare("motion", motion, arrays["motion"], SAMPLING)
    if "motion_denorm" in arrays:
        yield compare("motion_denorm", motion * model.std + model.mean, arrays["motion_denorm"], SAMPLING)


def _single(model: Salad, arrays: Arrays, last: int) -> Iterator[Check]:
    """One clip without masks, and the attention maps of its last conditional pass."""
    noise = arrays.tensor("init_noise")[:1, : arrays["single_latent"].shape[1]]
    prompt, seen = prompts(arrays, arrays["text_index"][:1]), [noise]
    latent = model.denoise(noise, prompt, None, observe=lambda _, x: seen.append(x))
    motion = model.vae.decode(latent)
    yield compare("single_latent", latent, arrays["single_latent"], SAMPLING)
    if "single_motion" in arrays:
        yield compare("single_motion", motion, arrays["single_motion"], SAMPLING)
    maps = AttentionMaps()
    model.denoiser(seen[-2], torch.tensor(last), prompt.tokens, prompt.mask, maps=maps)
    for kind in ("cross", "skel", "temp"):
        if f"single_attn_{kind}_last" in arrays:
            yield compare(f"single_attn_{kind}_last", maps[kind], arrays[f"single_attn_{kind}_last"], SAMPLING)
    if "single_vs_batched_per_frame" in arrays:
        batched = model.vae.decode(_batch(model, arrays)[0])[:1, : motion.shape[1]]
        gap = (batched - motion)[0].abs().amax(1) / (1 + motion.abs().max())
        stored = arrays["single_vs_batched_per_frame"] / (1 + np.abs(arrays["motion"]).max())
        yield compare("single_vs_batched_per_frame", gap, stored, SAMPLING, absolute=True)


def topology(case: Path) -> Iterator[Check]:
    """Columns, edges, pooled sets and matrices of every skeleton in the folder."""
    for path in sorted(case.iterdir()):
        name = path.name.removesuffix("_matrices.npz")
        if path.suffix == ".json":
            yield from _body(path.stem, json.loads(path.read_text(encoding="utf-8")))
        elif name != path.name and (case / f"{name}.json").is_file():
            features = json.loads((case / f"{name}.json").read_text(encoding="utf-8"))["pose_dim"]
            yield from _matrices(name, Topology.of(features), Arrays(path))
        else:
            yield Check(f"file '{path.name}' of unknown kind", float("inf"), 0.0)


def _body(name: str, stored: dict[str, Any]) -> Iterator[Check]:
    body = Topology.of(int(stored["pose_dim"]))
    sets = stored.get("pool_sets", [])
    ours: dict[str, object] = {
        "dataset": name,
        "pose_dim": body.features,
        "joints": body.joints,
        "contact_joints": list(body.contact_joints),
        "columns_of_joint_token": body.columns,
        "block_columns": {key: [block.start, block.stop] for key, block in body.blocks.items()},
        "stage_edges": [[list(edge) for edge in body.edges(i)] for i in range(len(stored.get("stage_edges", [])))],
        "pool_sets": [[[sorted(s), i] for i, s in enumerate(body.pool_sets(stage))] for stage in range(len(sets))],
        "token_names_depth0": list(HALF_LIMBS),
        "token_names_depth1": list(BODY_PARTS),
    }
    stored = dict(stored)
    stored["pool_sets"] = [[[sorted(members), i] for members, i in stage] for stage in sets]
    stored["stage_edges"] = [sorted(stage) for stage in stored.get("stage_edges", [])]
    for key, value in stored.items():
        yield exact(f"{name} {key}", ours.get(key), value)


def _matrices(name: str, body: Topology, arrays: Arrays) -> Iterator[Check]:
    depth = sum(re.fullmatch(r"enc\d+_adj", key) is not None for key in arrays)
    for stage in range(depth):
        level, mirror = body.level(stage), depth - 1 - stage
        pairs = {
            f"enc{stage}_adj": level.adjacency,
            f"enc{stage}_pool": level.pool,
            f"dec{mirror}_unpool": level.unpool,
            f"dec{mirror}_adj": level.adjacency,
        }
        for key, value in pairs.items():
            if key in arrays:
                yield compare(f"{name} {key}", value, arrays[key], 1e-7)
    yield from arrays.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "diffusion": diffusion,
    "sampling": sampling,
    "topology": topology,
}
