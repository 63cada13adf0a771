"""Reading the authors' checkpoint folders, and those of their unlearning fork, without running what they contain.

Layout: ``<checkpoints>/<dataset>/<name>/{opt.txt, model/*.tar}`` and ``<dataset>/Comp_v6_KLD005/meta/{mean,std}.npy``.
Sizes are read from the shapes; ``opt.txt`` only supplies what no shape tells (heads, activation, schedule).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions
from hmu.checkpoints.arrays import load_array
from hmu.checkpoints.options import read_options
from hmu.checkpoints.safe import load_tensors, sha256
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

log = logging.getLogger(__name__)

STATISTICS = "Comp_v6_KLD005/meta"
#: what a file of another family holds at its top level
FAMILIES = {
    "vq_model": "a MoMask or BAMM tokenizer",
    "net": "a MoMask or T2M-GPT tokenizer",
    "t2m_transformer": "a MoMask or BAMM masked transformer",
    "res_transformer": "a MoMask residual transformer",
    "estimator": "a length estimator",
    "movement_encoder": "a text-motion evaluator",
    "ema_state_dict": "a GaitDynamics model",
    "state_dict": "a Lightning checkpoint",
}
State = dict[str, Tensor]


def read_states(path: Path | str, key: str) -> State:
    """The state dict ``key`` (``vae`` or ``denoiser``) of one ``.tar``, without the frozen CLIP it may carry.

    Raises:
        CheckpointError: missing or broken file, or a file of another family (which is named).
    """
    content = load_tensors(path)
    if key not in content:
        family = next((what for name, what in FAMILIES.items() if name in content), None)
        other = {"vae": "denoiser", "denoiser": "vae"}[key]
        found = family or (f"a SALAD {other}" if other in content else f"the keys {', '.join(map(str, content))}")
        raise CheckpointError(f"{path}: holds {found}, expected a SALAD {key}; name the folder of the {key}")
    state = content[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: '{key}' is not a mapping of names to tensors")
    return {name: value for name, value in state.items() if "clip_model." not in name and "_cache_" not in name}


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


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(m.group(1)) for name in state if (m := re.match(pattern, name))), default=-1)


def _need(state: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in state:
        raise CheckpointError(f"{path}: parameter '{name}' is missing, this is no SALAD checkpoint")
    return state[name]


def vae_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path) -> VaeOptions:
    """Options of a VAE from its shapes and its ``opt.txt``."""
    block = "conv_enc.layers.0.0.layers"
    return VaeOptions(
        latent_dim=_need(state, "dist.bias", path).shape[1] // 2,
        kernel_size=_need(state, f"{block}.2.temp_conv.weight", path).shape[2],
        n_layers=_count(state, r"conv_enc\.layers\.(\d+)\."),
        n_extra_layers=_count(state, r"conv_enc\.layers\.0\.(\d+)\.layers\.") - 1,
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
        latent_dim=_need(state, "word_emb.weight", path).shape[0],
        n_heads=opt["n_heads"],
        n_layers=2 * _count(state, r"transformer\.input_blocks\.(\d+)\.") + 1,
        ff_dim=_need(state, "transformer.middle_block.ffn_linear1.weight", path).shape[0],
        activation="relu" if opt.get("activation") == "relu" else "gelu",
        dropout=opt.get("dropout", 0.1),
        max_positions=_need(state, "pos_emb.pe", path).shape[1],
        time_features=_need(state, "timestep_emb.mlp.0.weight", path).shape[1],
        loss=opt.get("recon_loss", "l2"),
        cond_drop=opt.get("cond_drop_prob", 0.1),
    )


def schedule_options(opt: Mapping[str, Any]) -> ScheduleOptions:
    """Noise schedule of an ``opt.txt``; absent keys take the published values."""
    same = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
    names = {"timesteps": "num_train_timesteps", **{key: key for key in same}}
    return ScheduleOptions(**{ours: opt[key] for ours, key in names.items() if key in opt})


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Load every name, refusing missing, unexpected and misshapen ones in one line."""
    own = module.state_dict()
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    wrong = [n for n in own if n in state and own[n].shape != state[n].shape]
    for what, names in (("misses", missing), ("holds unknown", extra), ("has another shape for", wrong)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{path}: {what} '{names[0]}'{more}; not the SALAD model that its opt.txt describes")
    module.load_state_dict(dict(state))


def _tar(folder: Path, name: str | None) -> Path:
    """The weight file of a model folder: the named one, else the best, else the last."""
    candidates = [name] if name else ["net_best_fid.tar", "latest.tar"]
    for candidate in candidates:
        if (folder / "model" / candidate).is_file():
            return folder / "model" / candidate
    others = sorted((folder / "model").glob("*.tar"))
    if name is None and len(others) == 1:  # whatever it is: reading it tells the family
        return others[0]
    raise CheckpointError(
        f"{folder}: expected model/{' or model/'.join(candidates)}; check the folder and the file name"
    )


def read_statistics(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """``mean.npy`` and ``std.npy`` of a folder."""
    arrays = []
    for name in ("mean.npy", "std.npy"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name}: missing; SALAD normalises with the evaluator's statistics, copy them"
            )
        arrays.append(load_array(folder / name, CheckpointError))
    return arrays[0], arrays[1]


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
        variant: passed to :class:`Salad`; ``upstream`` also evaluates LoRA as the fork's script does.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    if not (folder / denoiser_name).is_dir():
        raise CheckpointError(
            f"{folder / denoiser_name}: no such model folder; expected <checkpoints>/<dataset>/<name>"
        )
    den_opt = read_options(folder / denoiser_name / "opt.txt")
    den_path = _tar(folder / denoiser_name, denoiser_file)
    den_state = merge_lora(read_states(den_path, "denoiser"), lora_alpha, variant)
    vae_name = vae_name or den_opt.get("vae_name", "")
    if not vae_name or not (folder / vae_name).is_dir():
        raise CheckpointError(
            f"{folder / vae_name}: no such VAE folder (vae_name of {denoiser_name}/opt.txt); copy it there"
        )
    vae_opt = read_options(folder / vae_name / "opt.txt")
    vae_path = _tar(folder / vae_name, vae_file)
    vae_state = read_states(vae_path, "vae")
    features = 12 * _need(vae_state, "conv_enc.layers.0.0.layers.2.adj_matrix", vae_path).shape[0] - 1
    published = {
        "steps": den_opt.get("num_inference_timesteps", 50),
        "guidance": den_opt.get("cond_scale", 7.5),
    }
    model = Salad(
        features=features,
        text=text,
        vae=vae_options(vae_state, vae_opt, vae_path),
        denoiser=denoiser_options(den_state, den_opt, den_path),
        schedule=schedule_options(den_opt),
        sampling=published if sampling is None else sampling,
        statistics=read_statistics(folder / STATISTICS),
        chains=vae_opt.get("kinematic_chain"),
        fps=den_opt.get("fps", 20.0),
        text_width=_need(den_state, "word_emb.weight", den_path).shape[1],
        min_frames=24 if den_opt.get("dataset_name") == "kit" else 40,
        max_frames=den_opt.get("max_motion_length", 196),
        variant=variant,
    )
    _check_latent(model, den_state, den_path)
    load_strictly(model.vae, vae_state, vae_path)
    load_strictly(model.denoiser, den_state, den_path)
    model.origin = {
        "format": "salad-authors",
        "denoiser": {"file": str(den_path), "sha256": sha256(den_path)},
        "vae": {"file": str(vae_path), "sha256": sha256(vae_path)},
        "clip_version": den_opt.get("clip_version", "ViT-B/32"),
    }
    return model.eval()


def _check_latent(model: Salad, state: Mapping[str, Tensor], path: Path) -> None:
    wanted, found = model.vae.options.latent_dim, _need(state, "input_process.layers.0.weight", path).shape[1]
    if wanted != found:
        raise CheckpointError(
            f"{path}: expects latents of width {found}, but the VAE has {wanted}: give its own vae_name"
        )
    if model.text is not None and model.text.width != model.text_width:
        raise CheckpointError(
            f"{path}: reads text of width {model.text_width}, but the text encoder has {model.text.width}"
        )


def locate(path: Path | str) -> tuple[Path, str, str | None]:
    """``(dataset folder, model name, file or None)`` of an authors' checkpoint given as a file or model folder.

    Raises:
        CheckpointError: where the path is neither.
    """
    path = Path(path)
    if path.is_file() and path.parent.name == "model":
        return path.parents[2], path.parents[1].name, path.name
    if (path / "opt.txt").is_file() and (path / "model").is_dir():
        return path.parent, path.name, None
    raise CheckpointError(
        f"{path}: expected <checkpoints>/<dataset>/<name> with opt.txt and model/, or a file in model/"
    )


def is_authors(path: Path | str) -> bool:
    """Whether ``path`` looks like the authors' model folder or a file in it."""
    try:
        locate(path)
    except CheckpointError:
        return False
    return True
