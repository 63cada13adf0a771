"""Our own model folder: ``config.json`` + ``weights.safetensors`` (half precision allowed), and the Hydra target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.salad.authors import is_authors, load_authors, load_strictly, locate
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions
from hmu.checkpoints.folders import CONFIG, read_model_config
from hmu.checkpoints.safe import load_safetensors, save_safetensors, sha256, write_json
from hmu.checkpoints.sizes import check_model
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.text.base import TextEncoder
from hmu.text.stored import storable, text_from_config, text_to_config

FAMILY = "salad"
WEIGHTS = "weights.safetensors"
ASSET = "asset:"


def _recomputed(model: Salad) -> set[str]:
    """Names that construction fills in: topology matrices and the table of positions."""
    fixed = {f"vae.{name}" for name, p in model.vae.named_parameters() if name.endswith(("matrix", "pool", "unpool"))}
    return fixed | {"denoiser.pos_emb.pe"}


def to_config(model: Salad) -> dict[str, Any]:
    """Constructor arguments as plain values."""
    return {
        "family": FAMILY,
        "features": model.features,
        "fps": model.fps,
        "chains": [list(chain) for chain in model.topology.chains],
        "vae": dataclasses.asdict(model.vae.options),
        "denoiser": dataclasses.asdict(model.denoiser.options),
        "schedule": dataclasses.asdict(model.diffusion.options),
        "sampling": {**dataclasses.asdict(model.sampling), "options": dict(model.sampling.options)},
        "latent_scale": model.latent_scale,
        "posterior": model.posterior,
        "text_width": model.text_width,
        "min_frames": model.min_frames,
        "max_frames": model.max_frames,
        "variant": model.variant,
        "text": text_to_config(model.text),
    }


def save_pretrained(model: Salad, folder: Path | str, dtype: str = "float32") -> Path:
    """Write the model folder atomically, file by file; weights as ``float32`` or ``float16``, statistics in float32.

    A compact text encoder is stored with the model; CLIP is not.
    """
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype={dtype}: expected float32 or float16")
    folder, skip = Path(folder), _recomputed(model)
    stored: dict[str, Tensor] = {"mean": model.mean, "std": model.std}
    for prefix, module in (("vae", model.vae), ("denoiser", model.denoiser), ("text", model.text)):
        if module is None or (prefix == "text" and not storable(model.text)):
            continue
        for name, value in module.state_dict().items():
            if f"{prefix}.{name}" not in skip:
                stored[f"{prefix}.{name}"] = value.to(getattr(torch, dtype)) if value.is_floating_point() else value
    save_safetensors(folder / WEIGHTS, stored, {"family": FAMILY})
    write_json(folder / CONFIG, to_config(model))
    return folder


def load_pretrained(
    folder: Path | str,
    *,
    text: TextEncoder | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    variant: str | None = None,
) -> Salad:
    """A model from its folder, in evaluation mode and float32; a stored text encoder is frozen.

    Args:
        folder: what :func:`save_pretrained` wrote.
        text: encoder for models that store none (CLIP); a stored one wins.
        sampling, variant: replace the stored ones.

    Raises:
        CheckpointError: one line naming file and fault.
    """
    folder = Path(folder)
    config = read_model_config(folder, FAMILY)
    tensors = load_safetensors(folder / WEIGHTS)
    check_model(config, folder / CONFIG, folder / WEIGHTS)
    stored = config.pop("text", None)
    if stored is not None:
        text = text_from_config(stored, folder / CONFIG)
    config.update({k: v for k, v in (("sampling", sampling), ("variant", variant)) if v is not None})
    try:
        model = Salad(text=text, **config)
    except TypeError as error:
        raise CheckpointError(f"{folder / CONFIG}: written by another version ({shown(error, 120)})") from error
    if model.text_width != config.get("text_width"):
        raise CheckpointError(
            f"{folder}: reads text of width {shown(config.get('text_width'))}, the encoder has {model.text_width}"
        )
    skip = _recomputed(model)
    for prefix, module in (("vae", model.vae), ("denoiser", model.denoiser), ("text", model.text)):
        if module is None or (prefix == "text" and stored is None):
            continue
        own = module.state_dict()
        state = {n: own[n] for n in own if f"{prefix}.{n}" in skip}
        state |= {n[len(prefix) + 1 :]: v for n, v in tensors.items() if n.startswith(f"{prefix}.")}
        load_strictly(module, {n: v.to(own[n].dtype) if n in own else v for n, v in state.items()}, folder / WEIGHTS)
    for name in ("mean", "std"):
        if name not in tensors:
            raise CheckpointError(f"{folder / WEIGHTS}: misses '{name}', the motion statistics of the model")
    model.set_statistics(tensors["mean"].numpy(), tensors["std"].numpy())
    if stored is not None and model.text is not None:
        model.text.requires_grad_(False)
    model.origin = {"format": "hmu", "model": {"file": str(folder), "sha256": sha256(folder / WEIGHTS)}}
    return model.eval()


def resolve(checkpoint: str) -> Path:
    """A checkpoint setting as a path; ``asset:demo/salad`` is a folder packaged with hmu."""
    if not checkpoint.startswith(ASSET):
        return Path(checkpoint).expanduser()
    path = Path(str(resources.files("hmu").joinpath("assets", *checkpoint[len(ASSET) :].split("/"))))
    if not path.is_dir():
        raise CheckpointError(
            f"{checkpoint}: this installation carries no such model; train one, or give checkpoint=<folder>"
        )
    return path


def build(
    checkpoint: str | None = None,
    text: TextEncoder | None = None,
    features: int = 263,
    vae: VaeOptions | Mapping[str, Any] | None = None,
    denoiser: DenoiserOptions | Mapping[str, Any] | None = None,
    schedule: ScheduleOptions | Mapping[str, Any] | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    chains: Sequence[Sequence[int]] | None = None,
    fps: float = 20.0,
    latent_scale: float | None = 1.0,
    posterior: str = "sampled",
    feat_bias: float = 25.0,
    min_frames: int = 40,
    max_frames: int = 196,
    vae_name: str | None = None,
    lora_alpha: float | None = None,
    variant: str = "default",
) -> Salad:
    """The Hydra target of ``configs/backbone/salad*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' model folder
            (``<checkpoints>/<dataset>/<name>``) or a file in its ``model/``; ``asset:<folder>`` for a packaged one.
        text: prompt encoder; a model folder that stores its own uses that one.
        vae_name: VAE folder beside an authors' denoiser, unless its ``opt.txt`` names it.
        lora_alpha: of a fork's LoRA checkpoint.
        feat_bias: how much more root and contacts count when training from scratch, see :meth:`Salad.prepare`.

    The others are arguments of :class:`Salad`. With a checkpoint, its sizes and schedule are used; ``sampling`` and
    ``variant`` stay as configured.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    if checkpoint is None:
        fresh = Salad(
            features, text, vae, denoiser, schedule, sampling, None, chains, fps, None, latent_scale, posterior,
            min_frames, max_frames, variant,
        )  # fmt: skip
        fresh.feat_bias = float(feat_bias)
        return fresh
    path = resolve(str(checkpoint))
    if is_authors(path):
        folder, name, file = locate(path)
        return load_authors(
            folder,
            name,
            vae_name,
            denoiser_file=file,
            text=text,
            sampling=sampling,
            lora_alpha=lora_alpha,
            variant=variant,
        )
    model = load_pretrained(path, text=text, sampling=sampling, variant=variant)
    model.posterior = posterior
    if model.features != features:
        raise ConfigError(
            f"backbone.features={features}, but {path} generates {model.features} columns: set features to that"
        )
    return model
