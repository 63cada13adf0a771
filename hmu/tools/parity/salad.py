"""SALAD against the authors' code: VAE, denoiser, loss, schedule, sampling and topology cases.

Everything is derived from the files. A case does not name its checkpoint: among ``checkpoints/<dataset>/*`` beside it
those with fitting shapes are taken, and of several the one that reproduces the case's first output best.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.base import State
from hmu.backbones.salad import objectives
from hmu.backbones.salad.attention import AttentionMaps
from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.load import load_authors
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, ScheduleOptions, VaeOptions
from hmu.backbones.salad.sampling import denoise
from hmu.backbones.salad.topology import BODY_PARTS, HALF_LIMBS, Topology
from hmu.backbones.salad.vae import Vae, kl_divergence, sample_posterior
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from hmu.text.base import TextCondition
from hmu.tools.parity.checks import Check, compare, exact

NETWORK, SAMPLING, DOUBLE = 2e-5, 1e-4, 1e-9
T = TypeVar("T")


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a case; remembers which were read, so that an array nobody compares is a failure."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as stored:
            self._arrays = {name: stored[name] for name in stored.files}
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self._read.add(name)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """An array as a tensor."""
        return torch.from_numpy(np.ascontiguousarray(self[name])).to(dtype)

    def unread(self) -> Iterator[Check]:
        """A failing check for every array that no comparison used."""
        for name in self:
            if name not in self._read:
                yield Check(f"array '{name}' of unknown meaning", float("inf"), 0.0)


def _vectors(case: Path) -> tuple[Arrays, list[Check]]:
    """The case's arrays, and failing checks for files of unknown kind."""
    known = {"vectors.npz", "manifest_full.json", "case.json"}
    strange = sorted(p.name for p in case.iterdir() if p.name not in known)
    return Arrays(case / "vectors.npz"), [Check(f"file '{n}' of unknown kind", float("inf"), 0.0) for n in strange]


# -- finding the checkpoint ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Found:
    """A model that a case may belong to."""

    name: str
    model: Salad


def _models(case: Path) -> list[Found]:
    """Every readable pair of denoiser and VAE beside the case, with the authors' behaviour."""
    found = []
    for opt in sorted((case.parent / "checkpoints").glob("*/*/opt.txt")):
        if not (opt.parent / "model" / "net_best_fid.tar").is_file():
            continue  # the fork's edits belong to other cases
        try:
            model = load_authors(opt.parents[1], opt.parent.name, variant="upstream")
        except CheckpointError:
            continue  # a VAE's folder, or another family's
        found.append(Found(opt.parent.name, model))
    if not found:
        raise CheckpointError(f"{case.parent / 'checkpoints'}: no SALAD denoiser with its VAE for the case {case.name}")
    return found


def _vaes(case: Path) -> list[Found]:
    """Every VAE beside the case, also one that no denoiser uses."""
    from hmu.backbones.salad.load import load_strictly, read_states, vae_options
    from hmu.checkpoints.opt import read_opt

    found = []
    for path in sorted((case.parent / "checkpoints").glob("*/*/opt.txt")):
        tars = [t for t in (path.parent / "model" / n for n in ("net_best_fid.tar", "latest.tar")) if t.is_file()]
        try:
            state, opt = read_states(tars[0], "vae"), read_opt(path)
        except (CheckpointError, IndexError):
            continue
        joints = state["conv_enc.layers.0.0.layers.2.adj_matrix"].shape[0]
        options = vae_options(state, opt, tars[0])
        model = Salad(
            12 * joints - 1, vae=options, denoiser=_tiny(), chains=opt.get("kinematic_chain"), variant="upstream"
        )
        load_strictly(model.vae, state, tars[0])
        found.append(Found(path.parent.name, model.eval()))
    return found


def _tiny() -> DenoiserOptions:
    return DenoiserOptions(latent_dim=2, n_heads=1, n_layers=1, ff_dim=2, max_positions=7, time_features=2)


def _pick(case: Path, found: Sequence[Found], fits: Callable[[Salad], bool], error: Callable[[Salad], float]) -> Salad:
    """The fitting model; of several the one with the smallest ``error``."""
    fitting = [f.model for f in found if fits(f.model)]
    if not fitting:
        names = ", ".join(f.name for f in found)
        raise CheckpointError(f"case {case.name}: none of the checkpoints {names} has the shapes of its vectors")
    return fitting[0] if len(fitting) == 1 else min(fitting, key=error)


def _deviation(ours: Tensor, expected: np.ndarray) -> float:
    check = compare("", ours.detach().numpy(), expected, 0.0)
    return check.deviation if check.deviation == check.deviation else float("inf")


# -- full-size manifests --------------------------------------------------------------------------------------------------
def manifest(path: Path, module: torch.nn.Module) -> Iterator[Check]:
    """Names, order, shapes, dtypes, kinds and trainability of a model at its published size."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    expected = listed["state_dict"]
    parameters = dict(module.named_parameters())
    ours = {
        name: {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "kind": "parameter" if name in parameters else "buffer",
            "requires_grad": bool(name in parameters and parameters[name].requires_grad),
        }
        for name, value in module.state_dict().items()
    }
    yield exact("manifest names", sorted(ours), sorted(expected))
    for key in ("shape", "dtype", "kind", "requires_grad"):
        yield exact(f"manifest {key}", {n: v[key] for n, v in ours.items()}, {n: v[key] for n, v in expected.items()})
    totals = {
        "parameters_total": sum(p.numel() for p in parameters.values()),
        "parameters_trainable": sum(p.numel() for p in parameters.values() if p.requires_grad),
    }
    for key, value in totals.items():
        if key in listed:
            yield exact(f"manifest {key}", value, listed[key])


def _vae_manifest(path: Path, features: int) -> Iterator[Check]:
    options = VaeOptions(**json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"])
    with torch.device("meta"):
        yield from manifest(path, Vae(Topology.of(features), options))


def _denoiser_manifest(path: Path) -> Iterator[Check]:
    numbers = json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"]
    shared = ("latent_dim", "n_heads", "n_layers", "ff_dim", "activation", "dropout", "max_positions")
    options = DenoiserOptions(time_features=numbers["timestep_frequency_dim"], **{k: numbers[k] for k in shared})
    with torch.device("meta"):
        yield from manifest(path, Denoiser(numbers["vae_latent_dim"], numbers["clip_dim"], options))


# -- VAE ------------------------------------------------------------------------------------------------------------------
def vae(case: Path) -> Iterator[Check]:
    """Encoder, decoder and training loss, in single and double precision."""
    arrays, strange = _vectors(case)
    yield from strange
    stages = sum(re.fullmatch(r"enc_stage\d+", name) is not None for name in arrays)

    def fits(model: Salad) -> bool:
        options = model.vae.options
        return (model.features, options.latent_dim) == (arrays["x"].shape[-1], arrays["mu"].shape[-1]) and stages in (
            0,
            options.n_layers,
        )

    with torch.no_grad():
        model = _pick(case, _vaes(case), fits, lambda m: _deviation(m.vae.encode(arrays.tensor("x"))[0], arrays["mu"]))
        yield from _vae_forward(model.vae, arrays)
        yield from _vae_round("", model.vae, arrays)
        if "odd_x" in arrays:
            yield from _vae_round("odd_", model.vae, arrays)
        yield from _vae_losses(model, arrays)
        if any(name.endswith("_f64") for name in arrays):
            yield from _vae_round("", model.vae.double(), arrays, "_f64")
    if (case / "manifest_full.json").is_file():
        yield from _vae_manifest(case / "manifest_full.json", model.features)
    yield from arrays.unread()


def _vae_forward(net: Vae, arrays: Arrays) -> Iterator[Check]:
    tokens = net.motion_enc(arrays.tensor("x"))
    encoded, decoded = list[Tensor](), list[Tensor]()
    net.conv_enc(tokens, None, encoded)
    net.conv_dec(arrays.tensor("z"), None, decoded)
    outputs = {"joint_tokens": tokens}
    outputs |= {f"enc_stage{i}": x for i, x in enumerate(encoded)} | {f"dec_stage{i}": x for i, x in enumerate(decoded)}
    for name, value in outputs.items():
        if name in arrays:
            yield compare(name, value, arrays[name], NETWORK)


def _vae_round(prefix: str, net: Vae, arrays: Arrays, suffix: str = "") -> Iterator[Check]:
    """Encode, sample with the stored noise, decode."""
    dtype = torch.float64 if suffix else torch.float32
    mean, logvar = net.encode(arrays.tensor(f"{prefix}x", dtype))
    latent = sample_posterior(mean, logvar, arrays.tensor(f"{prefix}eps", dtype))
    outputs = {"mu": mean, "logvar": logvar, "z": latent, "recon": net.decode(latent), "recon_mu": net.decode(mean)}
    for name, value in outputs.items():
        if f"{prefix}{name}{suffix}" in arrays:
            full = f"{prefix}{name}{suffix}"
            yield compare(full, value, arrays[full], DOUBLE if suffix else NETWORK)


def _vae_losses(model: Salad, arrays: Arrays) -> Iterator[Check]:
    motion, noise = arrays.tensor("x"), arrays.tensor("eps")
    frames = motion.shape[1] // model.unit_length * model.unit_length
    lengths = torch.full((len(motion),), frames)
    terms = objectives.vae_terms(model, motion[:, :frames], lengths, noise=noise)
    mean, logvar = model.vae.encode(motion)
    outputs = {"loss_kl": kl_divergence(mean, logvar).mean(), "train_loss": terms["loss"]}
    outputs |= {f"train_loss_{name}": terms[name] for name in ("recon", "vel", "pos", "kl")}
    for name, value in outputs.items():
        if name in arrays:
            yield compare(name, value, arrays[name], NETWORK)


# -- denoiser -----------------------------------------------------------------------------------------------------------
def _prompts(arrays: Arrays, index: np.ndarray, dtype: torch.dtype | None = None) -> TextCondition:
    return TextCondition(arrays.tensor("text_emb", dtype)[index], arrays.tensor("text_mask")[index])


def denoiser(case: Path) -> Iterator[Check]:
    """Answers, intermediate tensors, attention maps recorded and forced in."""
    arrays, strange = _vectors(case)
    yield from strange
    prompts = _prompts(arrays, arrays["text_index"])
    inputs = [arrays.tensor(name) for name in ("noisy_latent", "timesteps")]
    mask = arrays.tensor("len_mask")

    def fits(model: Salad) -> bool:
        net = model.denoiser
        return _latent_and_text(model) == (inputs[0].shape[-1], prompts.tokens.shape[-1]) and (
            "attn_skel" not in arrays or (net.options.n_layers, net.options.n_heads) == arrays["attn_skel"].shape[1:3]
        )

    def run(model: Salad, **options: Any) -> Tensor:
        return model.denoiser(*inputs, prompts.tokens, prompts.mask, mask, **options)

    with torch.no_grad():
        model = _pick(case, _models(case), fits, lambda m: _deviation(run(m), arrays["pred"]))
        net, trace, maps = model.denoiser, dict[str, list[Tensor]](), AttentionMaps()
        outputs = {"pred": run(model, trace=trace), "word_proj": net.word_emb(prompts.tokens)}
        outputs |= {"timestep_emb": trace["time"][0], "input_proj": trace["input"][0]}
        outputs["block_out"] = torch.stack(trace["blocks"])
        outputs["pred_nomask"] = net(*inputs, prompts.tokens, prompts.mask)
        yield compare("pred, maps kept", run(model, maps=maps), arrays["pred"], NETWORK)
        outputs |= {f"attn_{kind}": maps[kind] for kind in ("skel", "temp", "cross")}
        if "scalar_timestep" in arrays:
            time = arrays.tensor("scalar_timestep")
            outputs["pred_scalar_t"] = net(inputs[0], time, prompts.tokens, prompts.mask, mask)
        if "text_index_src" in arrays:
            outputs |= _forced(net, inputs, prompts, _prompts(arrays, arrays["text_index_src"]), mask)
        for name, value in outputs.items():
            if name in arrays:
                yield compare(name, value, arrays[name], NETWORK)
        if "pred_f64" in arrays:
            double = _prompts(arrays, arrays["text_index"], torch.float64)
            value = net.double()(inputs[0].double(), inputs[1], double.tokens, double.mask, mask)
            yield compare("pred_f64", value, arrays["pred_f64"], DOUBLE)
    if (case / "manifest_full.json").is_file():
        yield from _denoiser_manifest(case / "manifest_full.json")
    yield from arrays.unread()


def _latent_and_text(model: Salad) -> tuple[int, int]:
    return model.vae.options.latent_dim, model.text_width


def _forced(
    net: Denoiser, inputs: list[Tensor], prompts: TextCondition, source: TextCondition, mask: Tensor
) -> dict[str, Tensor]:
    """The answers with the attention maps of another prompt's run forced in."""
    maps = AttentionMaps()
    net(*inputs, source.tokens, source.mask, mask, maps=maps)
    stored = {kind: maps[kind] for kind in ("skel", "temp", "cross")}
    results = {}
    for name, kinds in (("pred_fixed_all", tuple(stored)), ("pred_fixed_cross", ("cross",))):
        forced = AttentionMaps({kind: stored[kind] for kind in kinds})
        results[name] = net(*inputs, prompts.tokens, prompts.mask, mask, maps=forced)
    return results


def denoiser_loss(case: Path) -> Iterator[Check]:
    """The training loss from a motion: encode, noise, mask, drop prompts, predict, compare."""
    arrays, strange = _vectors(case)
    yield from strange
    motion, lengths = arrays.tensor("motion"), arrays.tensor("m_lens")
    chosen = np.where(arrays["drop_uniform"] < 0.1, 0, arrays["text_index"])
    yield exact("text_used", chosen, arrays["text_used"])
    prompts = _prompts(arrays, chosen)

    def run(model: Salad) -> tuple[Tensor, State, Tensor]:
        latent = sample_posterior(*model.vae.encode(motion), arrays.tensor("vae_eps"))
        noise, time = arrays.tensor("noise"), arrays.tensor("timesteps")
        state = objectives.noised(model, latent, noise, time, model.latent_lengths(lengths))
        return latent, state, model.denoiser(state.inputs, time, prompts.tokens, prompts.mask, state.valid)

    def fits(model: Salad) -> bool:
        shape = (arrays["noise"].shape[-1], prompts.tokens.shape[-1])
        return model.features == motion.shape[-1] and _latent_and_text(model) == shape

    with torch.no_grad():
        model = _pick(case, _models(case), fits, lambda m: _deviation(run(m)[2], arrays["pred_raw"]))
        latent, state, raw = run(model)
        yield compare("latent_unmasked", latent, arrays["latent_unmasked"], NETWORK)
        yield compare("noisy_latent", state.inputs, arrays["noisy_latent"], NETWORK)
        yield compare("pred_raw", raw, arrays["pred_raw"], NETWORK)
        keep = state.valid[:, :, None, None]
        for name in [n for n in arrays if n.startswith("loss_")]:
            diffusion = Diffusion(replace(model.diffusion.options, prediction_type=name.removeprefix("loss_")))
            answer = diffusion.answer(latent * keep, arrays.tensor("noise") * keep, state.time)
            loss = objectives.distance(model, raw * keep, answer, state).mean()
            yield compare(name, loss, arrays[name], NETWORK)
    yield from arrays.unread()


# -- schedule -------------------------------------------------------------------------------------------------------------
def diffusion(case: Path) -> Iterator[Check]:
    """Tables, noising, velocities, time steps and single sampler steps of every stored schedule."""
    arrays, strange = _vectors(case)
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
    options = ScheduleOptions(len(betas), start, end, name)
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


# -- sampling -------------------------------------------------------------------------------------------------------------
def sampling(case: Path) -> Iterator[Check]:
    """Guided generation of a batch and of one clip, with the authors' decoder that reads padding."""
    arrays, strange = _vectors(case)
    yield from strange
    steps, scale = int(arrays["steps"]), float(arrays["cond_scale"])
    noise = arrays.tensor("init_noise")

    def fits(model: Salad) -> bool:
        shape = (noise.shape[-1], arrays["text_emb"].shape[-1])
        layers = (model.denoiser.options.n_layers, model.denoiser.options.n_heads)
        maps = arrays["single_attn_cross_last"].shape[1:3] if "single_attn_cross_last" in arrays else layers
        return model.features == arrays["motion"].shape[-1] and _latent_and_text(model) == shape and layers == maps

    def first(model: Salad) -> float:
        _guide(model, arrays, steps, scale)
        return _deviation(_batch(model, arrays)[0], arrays["latent_final"])

    with torch.no_grad():
        model = _pick(case, _models(case), fits, first)
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
    empty = _prompts(arrays, np.array([0]), model.mean.dtype)
    model.empty_condition = lambda: empty  # type: ignore[method-assign]


def _batch(model: Salad, arrays: Arrays, dtype: torch.dtype = torch.float32) -> tuple[Tensor, list[Tensor]]:
    seen: list[Tensor] = []
    lengths = model.latent_lengths(arrays.tensor("m_lens"))
    noise = arrays.tensor("init_noise", dtype) * length_mask(lengths, arrays["init_noise"].shape[1])[:, :, None, None]
    prompts = _prompts(arrays, arrays["text_index"], dtype)
    latent = denoise(model, noise, prompts, lengths, observe=lambda _, x: seen.append(x))
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
    prompt, seen = _prompts(arrays, arrays["text_index"][:1]), [noise]
    latent = denoise(model, noise, prompt, None, observe=lambda _, x: seen.append(x))
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


# -- topology -------------------------------------------------------------------------------------------------------------
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
    "vae": vae,
    "denoiser": denoiser,
    "denoiser_loss": denoiser_loss,
    "diffusion": diffusion,
    "sampling": sampling,
    "topology": topology,
}
