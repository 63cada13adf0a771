"""Reading the tokenizer and the residual transformer from the authors' folders, which MoMask and BAMM share.

What an ``opt.txt`` lacks takes the authors' own default, which is stated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hmu.backbones.statistics import Statistics
from hmu.backbones.tokens.base import TokenBackbone
from hmu.backbones.tokens.encoder import from_authors
from hmu.backbones.tokens.options import ResidualOptions, RvqOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq
from hmu.checkpoints.authors import State, count, load_strictly, read_state, source, take, weight_file
from hmu.checkpoints.options import read_options
from hmu.errors import CheckpointError

EMA = ("code_sum", "code_count")  # buffers of ours that the authors' files do not have
N = TypeVar("N", bound=nn.Module)


def encoder_sizes(state: Mapping[str, Any], opt: Mapping[str, Any], path: Path, what: str) -> dict[str, Any]:
    """Keyword arguments of :class:`~hmu.backbones.tokens.options.TransformerOptions` for a checkpoint.

    Raises:
        CheckpointError: a parameter or the number of heads is missing.
    """
    if "n_heads" not in opt:
        raise CheckpointError(f"{path}: opt.txt lacks n_heads, which no weight tells; copy the trained model's opt.txt")
    return {
        "latent_dim": take(state, "cond_emb.weight", path, what).shape[0],
        "n_heads": opt["n_heads"],
        "n_layers": count(state, r"seqTransEncoder\.layers\.(\d+)\."),
        "ff_size": take(state, "seqTransEncoder.layers.0.linear1.weight", path, what).shape[0],
        "dropout": opt.get("dropout", 0.2),
        "cond_drop": opt.get("cond_drop_prob", 0.1),
        "positions": take(state, "position_enc.pe", path, what).shape[0],
    }


def filled(module: N, state: State, path: Path) -> tuple[N, dict[str, Any]]:
    """A transformer with the authors' weights, in evaluation mode, and where they came from."""
    load_strictly(module, from_authors(state), path)
    return module.eval(), source(path)


def rvq_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path | str) -> RvqOptions:
    """Options of a tokenizer: sizes from its shapes, the rest from its ``opt.txt``."""
    what = "MoMask or BAMM tokenizer"
    codes, width = take(state, "quantizer.layers.0.codebook", path, what).shape
    return RvqOptions(
        codes=codes,
        code_dim=width,
        quantizers=count(state, r"quantizer\.layers\.(\d+)\."),
        width=take(state, "encoder.model.0.weight", path, what).shape[0],
        depth=count(state, r"encoder\.model\.2\.1\.model\.(\d+)\."),
        down=count(state, r"encoder\.model\.(\d+)\.0\.weight") - 2,
        stride=take(state, "encoder.model.2.0.weight", path, what).shape[2] // 2,
        dilation=opt.get("dilation_growth_rate", 3),
        norm=opt.get("vq_norm", "none"),
        activation=opt.get("vq_act", "relu"),
        dropout=0.2,
        shared=opt.get("shared_codebook", False),
        quantize_dropout=opt.get("quantize_dropout_prob", 0.2),
        decay=opt.get("mu", 0.99),
        temperature=0.5,
        reset_below=1.0,
        recon_loss=opt.get("recons_loss", "l1_smooth"),
        loss_vel=opt.get("loss_vel", 0.5),
        commit=opt.get("commit", 0.02),
    )


def load_rvq(folder: Path | str, file: str | None = None, variant: str = "default") -> tuple[Rvq, dict[str, Any]]:
    """A tokenizer from its folder, in evaluation mode, and where it came from (file, SHA-256).

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; it must hold the tokenizer that opt.txt names as vq_name")
    opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("vq_model", "net"), "a MoMask or BAMM tokenizer (rvq)")
    features = take(state, "encoder.model.0.weight", path, "tokenizer").shape[1]
    model = Rvq(features, rvq_options(state, opt, path), variant)
    load_strictly(model, state, path, TokenBackbone.training_only)
    return model.eval(), source(path)


def load_residual(folder: Path | str, file: str | None = None) -> tuple[ResidualTransformer, dict[str, Any]]:
    """A residual transformer from its folder, in evaluation mode, and where it came from.

    The authors' unshared head returns ``2 W h + b``; a checkpoint was trained with that, so it is kept
    (``doubled_head``).

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder, what = Path(folder), "MoMask or BAMM residual transformer (rtrans)"
    opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("res_transformer",), f"a {what}")
    shared = "token_embed_weight_" in state
    if not shared and "output_proj_weight" not in state:
        raise CheckpointError(
            f"{path}: holds no embeddings of the codes: with a shared codebook the authors' class never stores them, "
            "so this model cannot be restored; train one with separate codebooks"
        )
    table = state["token_embed_weight_" if shared else "token_embed_weight"]
    text_width = take(state, "cond_emb.weight", path, what).shape[1]
    quantizers = take(state, "quant_emb.weight", path, what).shape[1]
    sizes = encoder_sizes(state, opt, path, what)
    options = ResidualOptions(**sizes, share_weight=shared, doubled_head=not shared)
    return filled(ResidualTransformer(table.shape[1] - 1, quantizers, table.shape[2], text_width, options), state, path)


def find_residual(folder: Path, tokenizer: str, name: str | None) -> Path:
    """The residual transformer's folder: the named one, ``rtrans``, or the only one of that tokenizer that fits.

    Raises:
        CheckpointError: none or several.
    """
    if name is not None or (folder / "rtrans" / "opt.txt").is_file():
        return folder / (name or "rtrans")
    named = [p.parent for p in sorted(folder.glob("*/opt.txt")) if p.parent.name.startswith(("rtrans", "tres"))]
    fitting = [p for p in named if read_options(p / "opt.txt").get("vq_name") == tokenizer]
    if len(fitting) != 1:
        listed = ", ".join(p.name for p in fitting) or "none"
        raise CheckpointError(
            f"{folder}: found {listed} as residual transformers of '{tokenizer}'; give backbone.residual_name=<folder>"
        )
    return fitting[0]


def fitting_residual(
    folder: Path, tokenizer: str, name: str | None, rvq: Rvq
) -> tuple[ResidualTransformer, dict[str, Any]]:
    """The residual transformer beside a tokenizer, as :func:`find_residual` finds it.

    Raises:
        CheckpointError: as there, or it has another number of layers or codes.
    """
    residual, origin = load_residual(find_residual(folder, tokenizer, name))
    if (residual.codes, residual.quantizers) != (rvq.options.codes, rvq.options.quantizers):
        raise CheckpointError(
            f"{origin['file']}: has {residual.quantizers} layers of {residual.codes} codes, the tokenizer {tokenizer} "
            f"has {rvq.options.quantizers} of {rvq.options.codes}; give backbone.residual_name=<folder>"
        )
    return residual, origin


def settings(opt: Mapping[str, Any]) -> dict[str, Any]:
    """What an ``opt.txt`` says of the motions, as arguments of :class:`TokenBackbone`."""
    kit = opt.get("dataset_name") == "kit"
    most = opt.get("max_motion_length", 196)
    return {"fps": 12.5 if kit else 20.0, "min_frames": 24 if kit else 40, "max_frames": most, "feat_bias": 5.0}


def frame(kind: type[N], **arguments: Any) -> N:
    """A model without weights, to be put together from parts that are loaded: no weights are drawn for it."""
    with torch.device("meta"):
        model = kind(**arguments)
    model.statistics = Statistics(arguments["features"])
    return model.eval()
