"""The authors' folders of MoMask and BAMM: tokenizer, residual transformer, and the model that parts are put into.

What an ``opt.txt`` lacks takes the authors' own default, which is stated here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from hmu.backbones.statistics import Statistics
from hmu.backbones.tokens.base import TokenBackbone
from hmu.backbones.tokens.encoder import from_authors
from hmu.backbones.tokens.options import ResidualOptions, RvqOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq
from hmu.checkpoints import authors
from hmu.checkpoints.authors import Located, check_text, count, load_strictly, read_statistics, source
from hmu.checkpoints.opt import read_options
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

N = TypeVar("N", bound=nn.Module)
B = TypeVar("B", bound=TokenBackbone[Any])
Origin = dict[str, Any]  # a file and its SHA-256


class Part(authors.Part):
    """A part with a transformer."""

    def encoder_sizes(self) -> dict[str, Any]:
        """Arguments of :class:`~hmu.backbones.tokens.options.TransformerOptions`."""
        return {
            "latent_dim": self.size("cond_emb.weight", 0),
            "n_heads": self.heads(),
            "n_layers": count(self.state, r"seqTransEncoder\.layers\.(\d+)\."),
            "ff_size": self.size("seqTransEncoder.layers.0.linear1.weight", 0),
            "dropout": self.opt.get("dropout", 0.2),
            "cond_drop": self.opt.get("cond_drop_prob", 0.1),
            "positions": self.size("position_enc.pe", 0),
        }

    def fill(self, transformer: N) -> tuple[N, Origin]:
        """A transformer with these weights, in evaluation mode, and where they came from."""
        load_strictly(transformer, from_authors(self.state), self.path)
        return transformer.eval(), source(self.path)


def rvq_options(part: Part) -> RvqOptions:
    """Options of a tokenizer: sizes from its shapes, the rest from its ``opt.txt``."""
    opt, state = part.opt, part.state
    return RvqOptions(
        codes=part.size("quantizer.layers.0.codebook", 0),
        code_dim=part.size("quantizer.layers.0.codebook", 1),
        quantizers=count(state, r"quantizer\.layers\.(\d+)\."),
        width=part.size("encoder.model.0.weight", 0),
        depth=count(state, r"encoder\.model\.2\.1\.model\.(\d+)\."),
        down=count(state, r"encoder\.model\.(\d+)\.0\.weight") - 2,
        stride=part.size("encoder.model.2.0.weight", 2) // 2,
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


def load_rvq(folder: Path | str, file: str | None = None, variant: str = "default") -> tuple[Rvq, Origin]:
    """A tokenizer from its folder, in evaluation mode, and where it came from."""
    if not Path(folder).is_dir():
        raise CheckpointError(f"{folder}: no such folder; it must hold the tokenizer that opt.txt names as vq_name")
    part = Part.read(folder, file, ("vq_model", "net"), "MoMask or BAMM tokenizer (rvq)")
    model = Rvq(part.size("encoder.model.0.weight", 1), rvq_options(part), variant)
    load_strictly(model, part.state, part.path, TokenBackbone.training_only)
    return model.eval(), source(part.path)


def load_residual(folder: Path | str, file: str | None = None) -> tuple[ResidualTransformer, Origin]:
    """A residual transformer from its folder, in evaluation mode, and where it came from.

    The authors' unshared head returns ``2 W h + b``; a checkpoint was trained with that: ``doubled_head``.
    """
    part = Part.read(folder, file, ("res_transformer",), "MoMask or BAMM residual transformer (rtrans)")
    shared = "token_embed_weight_" in part.state
    if not shared and "output_proj_weight" not in part.state:
        raise CheckpointError(
            f"{part.path}: holds no embeddings of the codes: with a shared codebook the authors' class never stores "
            "them, so this model cannot be restored; train one with separate codebooks"
        )
    table = "token_embed_weight_" if shared else "token_embed_weight"
    sizes = part.size(table, 1) - 1, part.size("quant_emb.weight", 1), part.size(table, 2)
    options = ResidualOptions(**part.encoder_sizes(), share_weight=shared, doubled_head=not shared)
    return part.fill(ResidualTransformer(*sizes, part.size("cond_emb.weight", 1), options))


def find_residual(folder: Path, tokenizer: str, name: str | None) -> Path:
    """The residual transformer's folder: the named one, ``rtrans``, or the only one of that tokenizer."""
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


def load_parts(
    place: Located,
    load: Callable[[Path, str | None], tuple[Any, Origin]],
    check: Callable[[Any, str, int], None],
    tokenizer: str,
    residual_name: str | None,
    variant: str,
) -> tuple[Rvq, Any, ResidualTransformer, dict[str, Origin]]:
    """The three networks of a model, and where they came from; parts that do not belong together are refused."""
    masked, masked_origin = load(place.folder / place.name, place.file)
    rvq, rvq_origin = load_rvq(place.folder / tokenizer, variant=variant)
    check(masked, masked_origin["file"], rvq.options.codes)
    residual, residual_origin = load_residual(find_residual(place.folder, tokenizer, residual_name))
    if (residual.codes, residual.quantizers) != (rvq.options.codes, rvq.options.quantizers):
        raise CheckpointError(
            f"{residual_origin['file']}: has {residual.quantizers} layers of {residual.codes} codes, the tokenizer "
            f"{tokenizer} has {rvq.options.quantizers} of {rvq.options.codes}; give backbone.residual_name=<folder>"
        )
    return rvq, masked, residual, {"masked": masked_origin, "residual": residual_origin, "rvq": rvq_origin}


def load_model(
    kind: type[B],
    place: Located,
    load: Callable[[Path, str | None], tuple[Any, Origin]],
    check: Callable[[Any, str, int], None],
    *,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    text: TextEncoder | None = None,
    variant: str = "default",
    **own: Any,
) -> B:
    """A model of its own transformer, and of the tokenizer and the residual transformer beside that.

    Args:
        kind: the backbone. place: of its own transformer.
        load: reads that transformer from a folder (and a file in its ``model/``).
        check: refuses one, of a file, that does not belong to a tokenizer of so many codes.
        rvq_name: folder of the tokenizer, unless the transformer's ``opt.txt`` names it.
        residual_name: folder of the residual transformer; None = ``rtrans``, or the only one of that tokenizer.
        text: prompt encoder (the published models: CLIP ViT-B/32, pooled); None = only ready-made conditions.
        variant, own: arguments of ``kind``.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    opt = read_options(place.folder / place.name / "opt.txt")
    tokenizer = rvq_name or opt.get("vq_name", "")
    rvq, masked, residual, origin = load_parts(place, load, check, tokenizer, residual_name, variant)
    check_text(masked.text_width, text, origin["masked"]["file"])
    kit = opt.get("dataset_name") == "kit"
    published = {
        "fps": 12.5 if kit else 20.0,
        "min_frames": 24 if kit else 40,
        "max_frames": opt.get("max_motion_length", 196),
        "feat_bias": 5.0,
        "unlearn": "both",
    }
    sizes = {"features": rvq.features, "text_width": masked.text_width}
    numbers = {"rvq": rvq.options, "masked": masked.options, "residual": residual.options}
    with torch.device("meta"):  # no weights are drawn: the parts have theirs
        model = kind(**{**published, **sizes, **numbers, **own}, text=text, variant=variant)
    model.statistics = Statistics(rvq.features)
    model.statistics.assign(*read_statistics(place.folder / tokenizer / "meta", rvq.features))
    model.assemble(rvq, masked, residual)
    model.origin = {"format": f"{kind.name}-authors", **origin}
    return model.eval()
