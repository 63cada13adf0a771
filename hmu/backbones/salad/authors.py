"""Reading the authors' checkpoint folders, and those of their unlearning fork, without running what they contain.

Layout: ``<checkpoints>/<dataset>/<name>/{opt.txt, model/*.tar}`` and ``<dataset>/Comp_v6_KLD005/meta/{mean,std}.npy``.
Sizes are read from the shapes; ``opt.txt`` only supplies what no shape tells (heads, activation, schedule). What it
lacks takes the authors' own default, which is stated here.
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
from hmu.checkpoints.authors import (
    State,
    check_text,
    count,
    load_strictly,
    locate,
    read_state,
    read_statistics,
    source,
    take,
    weight_file,
)
from hmu.checkpoints.opt import read_options
from hmu.checkpoints.pretrained import builds
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

WHAT = "SALAD checkpoint"
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
    """Merge the fork's LoRA matrices into the weights: ``W + (alpha / r) B A``.

    The fork stores no alpha. None means ``alpha = r``, what it trains with by default (16 / 16); ``variant="upstream"``
    is what its evaluation script computes, which leaves alpha at 1.
    """
    base, pairs = split_lora(state)
    for module, (down, up) in pairs.items():
        rank = down.shape[0]
        scale = (1.0 if variant == "upstream" and alpha is None else float(rank if alpha is None else alpha)) / rank
        base[f"{module}.weight"] = base[f"{module}.weight"] + scale * (up @ down)
    return base


def vae_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path) -> VaeOptions:
    """Options of a VAE from its shapes and its ``opt.txt``."""
    block = "conv_enc.layers.0.0.layers"
    return VaeOptions(
        latent_dim=take(state, "dist.bias", path, WHAT).shape[1] // 2,
        kernel_size=take(state, f"{block}.2.temp_conv.weight", path, WHAT).shape[2],
        n_layers=count(state, r"conv_enc\.layers\.(\d+)\."),
        n_extra_layers=count(state, r"conv_enc\.layers\.0\.(\d+)\.layers\.") - 1,
        norm="layer" if f"{block}.0.weight" in state else "none",
        activation=opt.get("activation", "gelu"),
        dropout=opt.get("dropout", 0.1),
        recon_loss=opt.get("recon_loss", "l1_smooth"),
        lambda_pos=opt.get("lambda_pos", 0.5),
        lambda_vel=opt.get("lambda_vel", 0.5),
        lambda_kl=opt.get("lambda_kl", 0.02),
    )


def denoiser_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path) -> DenoiserOptions:
    """Options of a denoiser from its shapes and its ``opt.txt``.

    The authors' feed-forward is an exact GELU for every activation but relu, so that is what ``silu`` means here.
    """
    if "n_heads" not in opt:
        raise CheckpointError(f"{path}: opt.txt lacks n_heads, which no weight tells; copy the trained model's opt.txt")
    return DenoiserOptions(
        latent_dim=take(state, "word_emb.weight", path, WHAT).shape[0],
        n_heads=opt["n_heads"],
        n_layers=2 * count(state, r"transformer\.input_blocks\.(\d+)\.") + 1,
        ff_dim=take(state, "transformer.middle_block.ffn_linear1.weight", path, WHAT).shape[0],
        activation="relu" if opt.get("activation") == "relu" else "gelu",
        dropout=opt.get("dropout", 0.1),
        max_positions=take(state, "pos_emb.pe", path, WHAT).shape[1],
        time_features=take(state, "timestep_emb.mlp.0.weight", path, WHAT).shape[1],
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
    vae_file: str | None = None,
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
        denoiser_file, vae_file: file in ``model/``; None = ``net_best_fid.tar``, else ``latest.tar``.
        text: prompt encoder (the published model: CLIP ViT-B/32); None = only ready-made conditions.
        sampling: None = steps and guidance of ``opt.txt`` with DDIM.
        lora_alpha: of a LoRA checkpoint, see :func:`merge_lora`.
        posterior, variant: passed to :class:`Salad`; ``upstream`` also evaluates LoRA as the fork's script does.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    if not (folder / denoiser_name).is_dir():
        raise CheckpointError(
            f"{folder / denoiser_name}: no such model folder; expected <checkpoints>/<dataset>/<name>"
        )
    den_opt = read_options(folder / denoiser_name / "opt.txt")
    den_path = weight_file(folder / denoiser_name, denoiser_file)
    den_state = merge_lora(read_state(den_path, ("denoiser",), "a SALAD denoiser"), lora_alpha, variant)
    vae_name = vae_name or den_opt.get("vae_name", "")
    if not vae_name or not (folder / vae_name).is_dir():
        raise CheckpointError(
            f"{folder / vae_name}: no such VAE folder (vae_name of {denoiser_name}/opt.txt); copy it there"
        )
    vae_opt = read_options(folder / vae_name / "opt.txt")
    vae_path = weight_file(folder / vae_name, vae_file)
    vae_state = read_state(vae_path, ("vae",), "a SALAD VAE")
    width = take(den_state, "word_emb.weight", den_path, WHAT).shape[1]
    check_text(width, text, den_path)
    kit = den_opt.get("dataset_name") == "kit"
    model = Salad(
        features=12 * take(vae_state, "conv_enc.layers.0.0.layers.2.adj_matrix", vae_path, WHAT).shape[0] - 1,
        text=text,
        vae=vae_options(vae_state, vae_opt, vae_path),
        denoiser=denoiser_options(den_state, den_opt, den_path),
        schedule=schedule_options(den_opt),
        sampling=changed(sampling_options(den_opt), sampling),
        fps=den_opt.get("fps", 20.0),
        min_frames=24 if kit else 40,
        max_frames=den_opt.get("max_motion_length", 196),
        latent_scale=1.0,
        feat_bias=25.0,
        posterior=posterior,
        chains=vae_opt.get("kinematic_chain"),
        text_width=width,
        variant=variant,
    )
    _check_latent(model, den_state, den_path)
    model.statistics.assign(*read_statistics(folder / STATISTICS, model.features))
    load_strictly(model.vae, vae_state, vae_path)
    load_strictly(model.denoiser, den_state, den_path)
    model.origin = {
        "format": "salad-authors",
        "denoiser": source(den_path),
        "vae": source(vae_path),
        "clip_version": den_opt.get("clip_version", "ViT-B/32"),
    }
    return model.eval()


def _check_latent(model: Salad, state: Mapping[str, Tensor], path: Path) -> None:
    own, read = model.vae.options.latent_dim, take(state, "input_process.layers.0.weight", path, WHAT).shape[1]
    if own != read:
        raise CheckpointError(f"{path}: expects latents of width {read}, but the VAE has {own}: give its own vae_name")


@builds(Salad)
def build(
    checkpoint: str | None = None, *, vae_name: str | None = None, lora_alpha: float | None = None, **options: Any
) -> Salad:
    """The Hydra target of ``configs/backbone/salad*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' model folder
            (``<checkpoints>/<dataset>/<name>``) or a file in its ``model/``; ``asset:<folder>`` for a packaged one.
        vae_name: VAE folder beside an authors' denoiser, unless its ``opt.txt`` names it.
        lora_alpha: of a fork's LoRA checkpoint.
        options: arguments of :class:`Salad`. With a checkpoint its own are used, but for ``text`` (unless the folder
            stores one), ``sampling``, ``posterior`` and ``variant``.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    return Salad.open(checkpoint, partial(_authors, vae_name=vae_name, lora_alpha=lora_alpha), **options)


def _authors(path: Path, vae_name: str | None, **options: Any) -> Salad | None:
    place = locate(path)
    if place is None:
        return None
    return load_authors(place.folder, place.name, vae_name, denoiser_file=place.file, **options)
