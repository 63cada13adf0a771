"""Reading the transformers and the length estimator from the authors' folders (``mtrans``, ``rtrans`` …).

Sizes are read from the shapes; ``opt.txt`` only supplies what no shape tells (heads, dropout).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hmu.backbones.momask.encoder import from_authors
from hmu.backbones.momask.files import State, count, fill, read_state, take, weight_file
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import LengthOptions, ResidualOptions, TransformerOptions
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.checkpoints.options import read_options
from hmu.checkpoints.safe import sha256
from hmu.errors import CheckpointError

LENGTH_FOLDER, LENGTH_FILES = "length_estimator", ("finest.tar", "latest.tar")


def encoder_sizes(state: Mapping[str, Any], opt: Mapping[str, Any], path: Path, what: str) -> dict[str, Any]:
    """Keyword arguments of :class:`~hmu.backbones.momask.options.TransformerOptions` for a checkpoint.

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


def origin(path: Path) -> dict[str, Any]:
    """What provenance says of a file."""
    return {"file": str(path), "sha256": sha256(path)}


def _finish(module: nn.Module, state: State, path: Path) -> dict[str, Any]:
    fill(module, from_authors(state), path)
    module.eval()
    return origin(path)


def check_codes(path: Path | str, classes: int, codes: int) -> None:
    """Refuse a masked transformer of ``classes`` for a tokenizer of ``codes``.

    Raises:
        CheckpointError: it is BAMM's, whose head has one class more, or another tokenizer's.
    """
    if classes == codes + 1:
        raise CheckpointError(f"{path}: holds a BAMM transformer (its head has an end class): choose backbone=bamm")
    if classes != codes:
        raise CheckpointError(f"{path}: has {classes} codes, its tokenizer {codes}; name the one it was made with")


def load_masked(folder: Path | str, file: str | None = None) -> tuple[MaskedTransformer, dict[str, Any]]:
    """A masked transformer from its folder, in evaluation mode, and where it came from.

    A BAMM transformer may pass here: :func:`check_codes` tells it by its tokenizer.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder, what = Path(folder), "MoMask masked transformer (mtrans)"
    opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("t2m_transformer",), f"a {what}")
    if "trans" in opt:
        raise CheckpointError(f"{path}: holds a BAMM transformer (its opt.txt has 'trans'): choose backbone=bamm")
    tokens, code_dim = take(state, "token_emb.weight", path, what).shape
    text_width = take(state, "cond_emb.weight", path, what).shape[1]
    options = TransformerOptions(**encoder_sizes(state, opt, path, what))
    model = MaskedTransformer(tokens - 2, code_dim, text_width, options)
    return model, _finish(model, state, path)


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
    model = ResidualTransformer(table.shape[1] - 1, quantizers, table.shape[2], text_width, options)
    return model, _finish(model, state, path)


def load_length(folder: Path | str, file: str | None = None) -> tuple[LengthEstimator, dict[str, Any]]:
    """A length estimator from its folder (it has no ``opt.txt``), in evaluation mode, and where it came from.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    path = weight_file(Path(folder), file, LENGTH_FILES)
    state, what = read_state(path, ("estimator",), "a length estimator"), "length estimator"
    weights = [take(state, f"output.{layer}.weight", path, what) for layer in (0, 4, 8, 11)]
    model = LengthEstimator(
        weights[0].shape[1], LengthOptions(weights[3].shape[0], tuple(weight.shape[0] for weight in weights[:3]))
    )
    return model, _finish(model, state, path)
