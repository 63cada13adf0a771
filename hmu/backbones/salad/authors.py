"""SALAD from the authors' checkpoint folders, and those of their unlearning fork (:mod:`hmu.checkpoints.authors`).

What ``opt.txt`` lacks takes the authors' own default, which is stated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.backbones.options import changed
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions
from hmu.checkpoints.authors import Part, State, check_text, count, load_strictly, locate, read_statistics, source
from hmu.checkpoints.pretrained import builds
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

STATISTICS = "Comp_v6_KLD005/meta"


def split_lora(state: Mapping[str, Tensor]) -> tuple[State, dict[str, tuple[Tensor, Tensor]]]:
    """The fork's LoRA file as base weights under their usual names, and ``{linear: (lora_a, lora_b)}``."""
    base, pairs = dict[str, Tensor](), dict[str, dict[str, Tensor]]()
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        if leaf in ("lora_a", "lora_b"):
            pairs.setdefault(module, {})[leaf] = value
        else:
            base[name.replace(".original_linear.", ".")] = value
    broken = sorted(module for module, pair in pairs.items() if len(pair) != 2)
    if broken:
        raise CheckpointError(f"LoRA checkpoint: '{broken[0]}' has only one of lora_a and lora_b")
    return base, {module: (pair["lora_a"], pair["lora_b"]) for module, pair in pairs.items()}


def merge_lora(state: Mapping[str, Tensor], alpha: float | None = None, variant: str = "default") -> State:
    """Merge the fork's LoRA matrices into the weights ``(out, in)``: ``W + (alpha / r) B A``.

    The fork stores no alpha. None means ``alpha = r``, what it trains with by default (16 / 16); ``variant="upstream"``
    is what its evaluation script computes, which leaves alpha at 1.
    """
    base, pairs = split_lora(state)
    for module, (down, up) in pairs.items():
        rank = down.shape[0]
        scale = (1.0 if variant == "upstream" and alpha is None else float(rank if alpha is None else alpha)) / rank
        base[f"{module}.weight"] = base[f"{module}.weight"] + scale * (up @ down)
    return base


def vae_options(vae: Part) -> VaeOptions:
    """Options of a VAE from its shapes and its ``opt.txt``."""
    opt, block = vae.opt, "conv_enc.layers.0.0.layers"
    return VaeOptions(
        latent_dim=vae.size("dist.bias", 1) // 2,
        kernel_size=vae.size(f"{block}.2.temp_conv.weight", 2),
        n_layers=count(vae.state, r"conv_enc\.layers\.(\d+)\."),
        n_extra_layers=count(vae.state, r"conv_enc\.layers\.0\.(\d+)\.layers\.") - 1,
        norm="layer" if f"{block}.0.weight" in vae.state else "none",
        activation=opt.get("activation", "gelu"),
        dropout=opt.get("dropout", 0.1),
        recon_loss=opt.get("recon_loss", "l1_smooth"),
        lambda_pos=opt.get("lambda_pos", 0.5),
        lambda_vel=opt.get("lambda_vel", 0.5),
        lambda_kl=opt.get("lambda_kl", 0.02),
    )


def denoiser_options(denoiser: Part) -> DenoiserOptions:
    """Options of a denoiser from its shapes and its ``opt.txt``.

    The authors' feed-forward is an exact GELU for every activation but relu, so that is what ``silu`` means here.
    """
    opt = denoiser.opt
    return DenoiserOptions(
        latent_dim=denoiser.size("word_emb.weight", 0),
        n_heads=denoiser.heads(),
        n_layers=2 * count(denoiser.state, r"transformer\.input_blocks\.(\d+)\.") + 1,
        ff_dim=denoiser.size("transformer.middle_block.ffn_linear1.weight", 0),
        activation="relu" if opt.get("activation") == "relu" else "gelu",
        dropout=opt.get("dropout", 0.1),
        max_positions=denoiser.size("pos_emb.pe", 1),
        time_features=denoiser.size("timestep_emb.mlp.0.weight", 1),
        loss=opt.get("recon_loss", "l2"),
        cond_drop=opt.get("cond_drop_prob", 0.1),
    )


def schedule_options(opt: Mapping[str, Any]) -> ScheduleOptions:
    """Noise schedule of an ``opt.txt``; absent keys take the published values."""
    return ScheduleOptions(
        timesteps=opt.get("num_train_timesteps", 1000),
        beta_start=opt.get("beta_start", 0.00085),
        beta_end=opt.get("beta_end", 0.012),
        beta_schedule=opt.get("beta_schedule", "scaled_linear"),
        prediction_type=opt.get("prediction_type", "v_prediction"),
    )


def sampling_options(opt: Mapping[str, Any]) -> SamplingOptions:
    """Steps and guidance of an ``opt.txt``, with DDIM."""
    steps, guidance = opt.get("num_inference_timesteps", 50), opt.get("cond_scale", 7.5)
    return SamplingOptions(steps=steps, guidance=guidance, scheduler="DDIMScheduler", options={})


def load_authors(
    folder: Path | str,
    denoiser_name: str,
    vae_name: str | None = None,
    *,
    denoiser_file: str | None = None,
    text: TextEncoder | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    lora_alpha: float | None = None,
    posterior: str = "sampled",
    variant: str = "default",
) -> Salad:
    """A SALAD model from the authors' folders, or from the fork's unlearned ones (LoRA, ESD, UCE).

    Args:
        folder: ``<checkpoints>/<dataset>``, which holds the model folders and ``Comp_v6_KLD005/meta``.
        denoiser_name, vae_name: model folders; the VAE's name is in the denoiser's ``opt.txt`` unless given.
        denoiser_file: in ``model/``; None = the first of :data:`hmu.checkpoints.authors.WEIGHT_FILES`.
        sampling: what differs from steps and guidance of ``opt.txt`` with DDIM.
        lora_alpha: of a LoRA checkpoint, see :func:`merge_lora`; ``variant=upstream`` evaluates it as the fork does.
    """
    folder = Path(folder)
    if not (folder / denoiser_name).is_dir():
        raise CheckpointError(
            f"{folder / denoiser_name}: no such model folder; expected <checkpoints>/<dataset>/<name>"
        )
    denoiser = Part.read(folder / denoiser_name, denoiser_file, ("denoiser",), "SALAD denoiser")
    denoiser = denoiser._replace(state=merge_lora(denoiser.state, lora_alpha, variant))
    vae_name = vae_name or denoiser.opt.get("vae_name", "")
    if not vae_name or not (folder / vae_name).is_dir():
        raise CheckpointError(
            f"{folder / vae_name}: no such VAE folder (vae_name of {denoiser_name}/opt.txt); copy it there"
        )
    vae = Part.read(folder / vae_name, None, ("vae",), "SALAD VAE")
    model = _model(vae, denoiser, text, sampling, posterior, variant)
    model.statistics.assign(*read_statistics(folder / STATISTICS, model.features))
    load_strictly(model.vae, vae.state, vae.path)
    load_strictly(model.denoiser, denoiser.state, denoiser.path)
    clip = denoiser.opt.get("clip_version", "ViT-B/32")
    files = {"denoiser": source(denoiser.path), "vae": source(vae.path)}
    model.origin = {"format": "salad-authors", **files, "clip_version": clip}
    return model.eval()


def _model(
    vae: Part,
    denoiser: Part,
    text: TextEncoder | None,
    sampling: SamplingOptions | Mapping[str, Any] | None,
    posterior: str,
    variant: str,
) -> Salad:
    """A model of the sizes of its two parts, which must fit each other."""
    opt, width = denoiser.opt, denoiser.size("word_emb.weight", 1)
    check_text(width, text, denoiser.path)
    model = Salad(
        features=12 * vae.size("conv_enc.layers.0.0.layers.2.adj_matrix", 0) - 1,
        text=text,
        vae=vae_options(vae),
        denoiser=denoiser_options(denoiser),
        schedule=schedule_options(opt),
        sampling=changed(sampling_options(opt), sampling),
        fps=opt.get("fps", 20.0),
        min_frames=24 if opt.get("dataset_name") == "kit" else 40,
        max_frames=opt.get("max_motion_length", 196),
        latent_scale=1.0,
        feat_bias=25.0,
        posterior=posterior,
        chains=vae.opt.get("kinematic_chain"),
        text_width=width,
        variant=variant,
    )
    own, read = model.vae.options.latent_dim, denoiser.size("input_process.layers.0.weight", 1)
    if own != read:
        raise CheckpointError(
            f"{denoiser.path}: expects latents of width {read}, but the VAE has {own}: give its own vae_name"
        )
    return model


@builds(Salad)
def build(
    checkpoint: str | None, *, vae_name: str | None = None, lora_alpha: float | None = None, **options: Any
) -> Salad:
    """The Hydra target of ``configs/backbone/salad*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' model folder
            (``<checkpoints>/<dataset>/<name>``) or a file in its ``model/``; ``asset:<folder>`` for a packaged one.
        vae_name, lora_alpha: see :func:`load_authors`.
        options: arguments of :class:`Salad`. With a checkpoint its own are used, but for ``text`` (unless the folder
            stores one), ``sampling``, ``posterior`` and ``variant``.
    """
    return Salad.open(checkpoint, partial(_authors, vae_name=vae_name, lora_alpha=lora_alpha), **options)


def _authors(path: Path, vae_name: str | None, **options: Any) -> Salad | None:
    place = locate(path)
    if place is None:
        return None
    return load_authors(place.folder, place.name, vae_name, denoiser_file=place.file, **options)
