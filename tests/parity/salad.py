"""SALAD's networks against the authors' code: VAE, denoiser, training loss, full-size manifests."""

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

from hmu.backbones.base import State
from hmu.backbones.salad import objectives
from hmu.backbones.salad.attention import AttentionMaps
from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, VaeOptions
from hmu.backbones.salad.topology import Topology
from hmu.backbones.salad.vae import Vae, kl_divergence, sample_posterior
from hmu.text.base import TextCondition
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import (
    DOUBLE,
    NETWORK,
    Arrays,
    deviation,
    latent_and_text,
    models,
    pick,
    prompts,
    vaes,
    vectors,
)


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
    options = published.options(VaeOptions, **json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"])
    with torch.device("meta"):
        yield from manifest(path, Vae(Topology.of(features), options))


def _denoiser_manifest(path: Path) -> Iterator[Check]:
    numbers = json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"]
    shared = ("latent_dim", "n_heads", "n_layers", "ff_dim", "activation", "dropout", "max_positions")
    options = published.options(
        DenoiserOptions, time_features=numbers["timestep_frequency_dim"], **{k: numbers[k] for k in shared}
    )
    with torch.device("meta"):
        yield from manifest(path, Denoiser(numbers["vae_latent_dim"], numbers["clip_dim"], options))


def vae(case: Path) -> Iterator[Check]:
    """Encoder, decoder and training loss, in single and double precision."""
    arrays, strange = vectors(case)
    yield from strange
    stages = sum(re.fullmatch(r"enc_stage\d+", name) is not None for name in arrays)

    def fits(model: Salad) -> bool:
        options = model.vae.options
        return (model.features, options.latent_dim) == (arrays["x"].shape[-1], arrays["mu"].shape[-1]) and stages in (
            0,
            options.n_layers,
        )

    with torch.no_grad():
        model = pick(case, vaes(case), fits, lambda m: deviation(m.vae.encode(arrays.tensor("x"))[0], arrays["mu"]))
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
    terms = objectives.vae_terms(model.vae, motion[:, :frames], None, noise)
    mean, logvar = model.vae.encode(motion)
    outputs = {"loss_kl": kl_divergence(mean, logvar).mean(), "train_loss": terms["loss"]}
    outputs |= {f"train_loss_{name}": terms[name] for name in ("recon", "vel", "pos", "kl")}
    for name, value in outputs.items():
        if name in arrays:
            yield compare(name, value, arrays[name], NETWORK)


def denoiser(case: Path) -> Iterator[Check]:
    """Answers, intermediate tensors, attention maps recorded and forced in."""
    arrays, strange = vectors(case)
    yield from strange
    texts = prompts(arrays, arrays["text_index"])
    inputs = [arrays.tensor(name) for name in ("noisy_latent", "timesteps")]
    mask = arrays.tensor("len_mask")

    def fits(model: Salad) -> bool:
        net = model.denoiser
        return latent_and_text(model) == (inputs[0].shape[-1], texts.tokens.shape[-1]) and (
            "attn_skel" not in arrays or (net.options.n_layers, net.options.n_heads) == arrays["attn_skel"].shape[1:3]
        )

    def run(model: Salad, **options: Any) -> Tensor:
        return model.denoiser(*inputs, texts.tokens, texts.mask, mask, **options)

    with torch.no_grad():
        model = pick(case, models(case), fits, lambda m: deviation(run(m), arrays["pred"]))
        net, trace, maps = model.denoiser, dict[str, list[Tensor]](), AttentionMaps()
        outputs = {"pred": run(model, trace=trace), "word_proj": net.word_emb(texts.tokens)}
        outputs |= {"timestep_emb": trace["time"][0], "input_proj": trace["input"][0]}
        outputs["block_out"] = torch.stack(trace["blocks"])
        outputs["pred_nomask"] = net(*inputs, texts.tokens, texts.mask)
        yield compare("pred, maps kept", run(model, maps=maps), arrays["pred"], NETWORK)
        outputs |= {f"attn_{kind}": maps[kind] for kind in ("skel", "temp", "cross")}
        if "scalar_timestep" in arrays:
            time = arrays.tensor("scalar_timestep")
            outputs["pred_scalar_t"] = net(inputs[0], time, texts.tokens, texts.mask, mask)
        if "text_index_src" in arrays:
            outputs |= _forced(net, inputs, texts, prompts(arrays, arrays["text_index_src"]), mask)
        for name, value in outputs.items():
            if name in arrays:
                yield compare(name, value, arrays[name], NETWORK)
        if "pred_f64" in arrays:
            double = prompts(arrays, arrays["text_index"], torch.float64)
            value = net.double()(inputs[0].double(), inputs[1], double.tokens, double.mask, mask)
            yield compare("pred_f64", value, arrays["pred_f64"], DOUBLE)
    if (case / "manifest_full.json").is_file():
        yield from _denoiser_manifest(case / "manifest_full.json")
    yield from arrays.unread()


def _forced(
    net: Denoiser, inputs: list[Tensor], texts: TextCondition, source: TextCondition, mask: Tensor
) -> dict[str, Tensor]:
    """The answers with the attention maps of another prompt's run forced in."""
    maps = AttentionMaps()
    net(*inputs, source.tokens, source.mask, mask, maps=maps)
    stored = {kind: maps[kind] for kind in ("skel", "temp", "cross")}
    results = {}
    for name, kinds in (("pred_fixed_all", tuple(stored)), ("pred_fixed_cross", ("cross",))):
        forced = AttentionMaps({kind: stored[kind] for kind in kinds})
        results[name] = net(*inputs, texts.tokens, texts.mask, mask, maps=forced)
    return results


def denoiser_loss(case: Path) -> Iterator[Check]:
    """The training loss from a motion: encode, noise, mask, drop prompts, predict, compare."""
    arrays, strange = vectors(case)
    yield from strange
    motion, lengths = arrays.tensor("motion"), arrays.tensor("m_lens")
    chosen = np.where(arrays["drop_uniform"] < 0.1, 0, arrays["text_index"])
    yield exact("text_used", chosen, arrays["text_used"])
    texts = prompts(arrays, chosen)

    def run(model: Salad) -> tuple[Tensor, State, Tensor]:
        latent = sample_posterior(*model.vae.encode(motion), arrays.tensor("vae_eps"))
        noise, time = arrays.tensor("noise"), arrays.tensor("timesteps")
        state = model.noised(latent, noise, time, model.latent_lengths(lengths))
        return latent, state, model.denoiser(state.inputs, time, texts.tokens, texts.mask, state.valid)

    def fits(model: Salad) -> bool:
        shape = (arrays["noise"].shape[-1], texts.tokens.shape[-1])
        return model.features == motion.shape[-1] and latent_and_text(model) == shape

    with torch.no_grad():
        model = pick(case, models(case), fits, lambda m: deviation(run(m)[2], arrays["pred_raw"]))
        latent, state, raw = run(model)
        yield compare("latent_unmasked", latent, arrays["latent_unmasked"], NETWORK)
        yield compare("noisy_latent", state.inputs, arrays["noisy_latent"], NETWORK)
        yield compare("pred_raw", raw, arrays["pred_raw"], NETWORK)
        keep = state.valid[:, :, None, None]
        for name in [n for n in arrays if n.startswith("loss_")]:
            diffusion = Diffusion(replace(model.diffusion.options, prediction_type=name.removeprefix("loss_")))
            answer = diffusion.target(latent * keep, arrays.tensor("noise") * keep, state.time)
            loss = model.distance(raw * keep, answer, state).mean()
            yield compare(name, loss, arrays[name], NETWORK)
    yield from arrays.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "vae": vae,
    "denoiser": denoiser,
    "denoiser_loss": denoiser_loss,
}
