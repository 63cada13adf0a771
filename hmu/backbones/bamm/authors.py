"""Reading the authors' folders ``<checkpoints>/<dataset>/{<bamm>, <rvq>, <rtrans>}`` without running what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.momask.authors import encoder_sizes, origin
from hmu.backbones.momask.encoder import from_authors
from hmu.backbones.momask.files import fill, read_state, take, weight_file
from hmu.checkpoints.options import read_options
from hmu.errors import CheckpointError

WHAT = "BAMM transformer"


def check_family(state: Mapping[str, Tensor], codes: int, path: Path | str) -> None:
    """Refuse what is not BAMM's; MoMask's transformer has the same names, and one class and one embedding fewer.

    Args:
        state: parameters under the authors' names.
        codes: size ``K`` of the tokenizer's codebooks. BAMM has ``K + 3`` embeddings and ``K + 1`` classes (END).
        path: of the file, for the message.

    Raises:
        CheckpointError: naming the family and the shapes that tell.
    """
    rows = take(state, "token_emb.weight", path, WHAT).shape[0]
    classes = take(state, "output_process.poseFinal.bias", path, WHAT).shape[0]
    if (rows, classes) == (codes + 3, codes + 1):
        return
    found = f"token_emb has {rows} rows and the head {classes} classes"
    if (rows, classes) == (codes + 2, codes):
        raise CheckpointError(
            f"{path}: {found}, no END class: this is MoMask's masked transformer (mtrans), not BAMM's; "
            "choose backbone=momask, or give BAMM's folder"
        )
    raise CheckpointError(
        f"{path}: {found}, expected {codes + 3} and {codes + 1} for the tokenizer's {codes} codes; "
        "give the transformer and the tokenizer that were trained together"
    )


def transformer_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path) -> BidirectionalOptions:
    """Options of a transformer: sizes from its shapes, heads from its ``opt.txt``.

    Raises:
        CheckpointError: ``opt.txt`` lacks the heads, which no weight tells.
    """
    renamed = {
        name.replace(".blocks.", ".layers.").replace(".mlp.0.", ".linear1."): value for name, value in state.items()
    }
    return BidirectionalOptions(
        **encoder_sizes(renamed, opt, path, WHAT),
        blocks="t2mgpt" if any(name.startswith("seqTransEncoder.blocks.") for name in state) else "official",
        max_tokens=opt.get("max_motion_length", 196) // opt.get("unit_length", 4),
    )


def load_transformer(
    folder: Path | str, codes: int, file: str | None = None
) -> tuple[BidirectionalTransformer, dict[str, Any], dict[str, Any]]:
    """The transformer of a BAMM folder in evaluation mode, its ``opt.txt``, and its file with SHA-256.

    Args:
        folder: ``<checkpoints>/<dataset>/<name>``.
        codes: size of the tokenizer's codebooks, which tells BAMM's files from MoMask's.
        file: in ``model/``; None = ``net_best_fid.tar``, ``base.tar`` or ``latest.tar``, the first that is there.

    Raises:
        CheckpointError: one line naming the file and what was expected. No parameter is ever dropped.
    """
    folder = Path(folder)
    opt, path = read_options(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("t2m_transformer", "trans"), f"a {WHAT}")
    check_family(state, codes, path)
    net = BidirectionalTransformer(
        codes,
        take(state, "token_emb.weight", path, WHAT).shape[1],
        take(state, "cond_emb.weight", path, WHAT).shape[1],
        transformer_options(state, opt, path),
    )
    fill(net, from_authors(state), path)
    return net.eval(), opt, origin(path)
