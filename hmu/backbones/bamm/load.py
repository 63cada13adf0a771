"""Reading the authors' folders ``<checkpoints>/<dataset>/{<bamm>, <rvq>, <rtrans>}`` without running what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.backbones.bamm.names import from_authors
from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.momask.files import count, fill, read_state, take, weight_file
from hmu.checkpoints.opt import read_opt
from hmu.checkpoints.safe import sha256
from hmu.errors import CheckpointError

WHAT = "BAMM transformer"
STACK = r"seqTransEncoder\.{}\.(\d+)\."


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


def transformer_options(state: Mapping[str, Tensor], opt: Mapping[str, Any], path: Path | str) -> BidirectionalOptions:
    """Options of a transformer: sizes from its shapes, heads from its ``opt.txt``.

    Raises:
        CheckpointError: ``opt.txt`` lacks the heads, which no weight tells.
    """
    if "n_heads" not in opt:
        raise CheckpointError(f"{path}: opt.txt lacks n_heads, which no weight tells; copy the trained model's opt.txt")
    blocks = "t2mgpt" if any(name.startswith("seqTransEncoder.blocks.") for name in state) else "official"
    inner = {"official": "layers.0.linear1.weight", "t2mgpt": "blocks.0.mlp.0.weight"}[blocks]
    return BidirectionalOptions(
        latent_dim=take(state, "cond_emb.weight", path, WHAT).shape[0],
        n_heads=int(opt["n_heads"]),
        n_layers=max(count(state, STACK.format("layers")), count(state, STACK.format("blocks"))),
        ff_size=take(state, f"seqTransEncoder.{inner}", path, WHAT).shape[0],
        dropout=float(opt.get("dropout", 0.2)),
        cond_drop=float(opt.get("cond_drop_prob", 0.1)),
        positions=take(state, "position_enc.pe", path, WHAT).shape[0],
        blocks=blocks,
        max_tokens=int(opt.get("max_motion_length", 196)) // int(opt.get("unit_length", 4)),
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
    opt, path = read_opt(folder / "opt.txt"), weight_file(folder, file)
    state = read_state(path, ("t2m_transformer", "trans"), f"a {WHAT}")
    check_family(state, codes, path)
    net = BidirectionalTransformer(
        codes,
        take(state, "token_emb.weight", path, WHAT).shape[1],
        take(state, "cond_emb.weight", path, WHAT).shape[1],
        transformer_options(state, opt, path),
    )
    fill(net, from_authors(state), path)
    return net.eval(), opt, {"file": str(path), "sha256": sha256(path)}
