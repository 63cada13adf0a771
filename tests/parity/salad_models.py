"""Which SALAD model a case belongs to: cases do not name it, so sizes and the first output tell.

Among the authors' folders beside a case those whose sizes are the arrays' are tried; without one, the published
sizes (as far as arrays and manifests tell) are filled by every documented rule that may be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.salad.authors import load_authors, vae_options
from hmu.backbones.salad.model import Salad
from hmu.checkpoints.authors import Part, load_strictly, read_state
from hmu.checkpoints.opt import read_options
from hmu.errors import CheckpointError
from hmu.text.base import TextCondition
from tests.parity.case import Case, checkpoints
from tests.parity.checks import nearest
from tests.parity.fills import Fill, filled, fills
from tests.parity.manifests import published
from tests.published import backbone

NETWORK, SAMPLING = 2e-5, 1e-4
BEST, LATEST = "net_best_fid.tar", "latest.tar"
MOTIONS, LATENTS = ("x", "motion", "forget_motion"), ("mu", "noisy_latent", "init_noise", "noise", "forget_latent", "x")
WIDTHS = ("word_proj", "timestep_emb", "block_out", "input_proj")
#: the authors' option defaults, which published models have
VAE = {"latent_dim": 32, "kernel_size": 3, "n_layers": 2, "n_extra_layers": 1, "norm": "none", "activation": "gelu"}
DENOISER = {"latent_dim": 256, "n_heads": 8, "n_layers": 5, "ff_dim": 1024, "activation": "gelu"}
DENOISER_TABLES = {"max_positions": 5000, "time_features": 256}
NAMED = {"time_features": "timestep_frequency_dim"}  # what a manifest calls it


def demanded(case: Case) -> dict[str, int]:
    """The sizes that a case's arrays tell."""
    maps = case.first("attn_skel", "single_attn_skel_last")
    stages = {int(fit[1]) for fit in case.find(r"enc_stage(\d+)")}
    sizes = {
        "features": case.last(*(name for name in MOTIONS if case.dims(name) == 3)),
        "latent": case.last(*(name for name in LATENTS if case.dims(name) == 4)),
        "text": case.last("text_emb"),
        "width": case.last(*WIDTHS),
        "stages": len(stages) if len(stages) > 1 else None,  # the first alone does not say how many there are
        "layers": case.stored[maps].shape[1] if maps else None,
        "heads": case.stored[maps].shape[2] if maps else None,
    }
    return {key: value for key, value in sizes.items() if value is not None}


def fits(model: Salad, case: Case, *ignored: str) -> bool:
    """Whether a model has the sizes that the arrays tell."""
    net, vae = model.denoiser.options, model.vae.options
    ours = {"features": model.features, "latent": vae.latent_dim, "text": model.text_width, "width": net.latent_dim}
    ours |= {"stages": vae.n_layers, "layers": net.n_layers, "heads": net.n_heads}
    return all(ours[key] == value for key, value in demanded(case).items() if key not in ignored)


def stored_models(folder: Path, file: str = BEST, only_edits: bool = False) -> Iterator[Salad]:
    """Every readable pair of denoiser and VAE beside the case, with the authors' behaviour."""
    for opt in checkpoints(folder):
        tars = opt.parent / "model"
        if not (tars / file).is_file() or (only_edits and (tars / BEST).is_file()):
            continue  # the fork's edits belong to other cases
        try:
            yield load_authors(opt.parents[1], opt.parent.name, denoiser_file=file, variant="upstream")
        except CheckpointError:
            continue  # a VAE's folder, or another family's


def stored_vaes(folder: Path) -> Iterator[Salad]:
    """Every VAE beside the case, also one that no denoiser uses."""
    for path in checkpoints(folder):
        tar = next((t for t in (path.parent / "model" / name for name in (BEST, LATEST)) if t.is_file()), path)
        try:
            state, opt = read_state(tar, ("vae",), "a SALAD VAE"), read_options(path)
        except CheckpointError:
            continue
        joints = state["conv_enc.layers.0.0.layers.2.adj_matrix"].shape[0]
        sizes = {"latent_dim": 2, "n_heads": 1, "n_layers": 1, "ff_dim": 2, "max_positions": 7, "time_features": 2}
        model = backbone("salad", features=12 * joints - 1, text=None, denoiser=sizes, variant="upstream",
                         vae=vae_options(Part(opt, state, tar, "SALAD VAE")),
                         chains=opt.get("kinematic_chain"))  # fmt: skip
        load_strictly(model.vae, state, tar)
        yield model.eval()


def full_size(case: Case) -> Salad:
    """A model of the published size, as far as the arrays say nothing else; without values."""
    sizes = demanded(case)
    vae = {k: published(case.folder, "vae_t2m", "vae_kit").get(k, v) for k, v in VAE.items()}
    listed = published(case.folder, "denoiser_t2m")
    net = {k: listed.get(NAMED.get(k, k), v) for k, v in (DENOISER | DENOISER_TABLES).items()}
    vae |= {"latent_dim": sizes.get("latent", vae["latent_dim"]), "n_layers": sizes.get("stages", vae["n_layers"])}
    net |= {"latent_dim": sizes.get("width", net["latent_dim"]), "n_layers": sizes.get("layers", net["n_layers"])}
    net |= {"n_heads": sizes.get("heads", net["n_heads"])}
    features = sizes.get("features", 251 if "kit" in case.folder.name else 263)
    return backbone("salad", features=features, text=None, vae=vae, denoiser=net, text_width=sizes.get("text", 512),
                    variant="upstream")  # fmt: skip


def fill(model: Salad, rule: Fill, prefixed: bool = False) -> Salad:
    """Both networks filled, under names with or without the checkpoint's key."""
    for part, module in (("vae", model.vae), ("denoiser", model.denoiser)):
        filled(module, rule.under(f"{part}." if prefixed else ""))
    return model.eval()


def filled_models(case: Case) -> Iterator[Salad]:
    """The published size filled in every way that a case may mean."""
    for prefixed in (False, True):
        for rule in fills(case.folder.name, case.part, moved=(True, False)):
            yield fill(full_size(case), rule, prefixed)


def model_for(case: Case, error: Callable[[Salad], float], *ignored: str, vae_only: bool = False) -> Salad:
    """The model of a case: of those with its sizes the one whose first output is nearest.

    Args:
        case: with its arrays.
        error: how far a model's first output is from the stored one.
        ignored: sizes that do not matter here.
        vae_only: VAEs without a denoiser count as well.

    Raises:
        CheckpointError: there is none.
    """
    stored = stored_vaes(case.folder) if vae_only else stored_models(case.folder)
    candidates = [model for model in stored if fits(model, case, *ignored)]
    return nearest(candidates or filled_models(case), error, "SALAD model")


def prompts(case: Case, index: np.ndarray | str | None = None) -> TextCondition:
    """Rows ``index`` (or those that an array of this name lists) of the stored word features; else all of them."""
    if isinstance(index, str):
        index = case.raw(index) if index in case else None
    tokens = case["text_emb"]
    mask = case.get("text_mask")
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
    rows = np.arange(len(tokens)) if index is None else index
    return TextCondition(tokens[rows], mask[rows])


def answer(case: Case, model: Salad) -> Tensor:
    """What the denoiser answers on the stored state of the fork's cases."""
    texts = prompts(case, "x_text_index")
    return model.denoiser(case["x"], case["t"], texts.tokens, texts.mask, case.get("len_mask"))


def frames_kept(case: Case, model: Any, like: Tensor) -> Tensor:
    """Latent lengths ``(batch,)`` of a case; all of ``like`` ``(batch, frames, …)`` where none are stored."""
    lengths = case.get("m_lens")
    return torch.full((len(like),), like.shape[1]) if lengths is None else model.latent_lengths(lengths)
