"""BAMM from the authors' folders ``<dataset>/{<bamm>, <rvq>, <rtrans>}``, on a trained MoMask, or fresh."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.backbones.bamm.model import Bamm
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.options import changed
from hmu.backbones.tokens.authors import encoder_sizes, filled, fitting_residual, frame, load_rvq, settings
from hmu.backbones.tokens.base import TokenBackbone
from hmu.build import stored_class
from hmu.checkpoints.authors import check_text, locate, read_state, read_statistics, take, weight_file
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.options import read_options
from hmu.checkpoints.pretrained import builds, resolve
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

WHAT = "BAMM transformer"
#: of the authors' generation script
SAMPLING = SamplingOptions(
    guidance=4.0,
    refine_guidance=3.0,
    refine_share=0.5,
    ranking="confidence",
    temperature=1.0,
    residual_guidance=5.0,
    residual_temperature=1.0,
    residual_thres=0.9,
)


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
        condition_chance=0.5,
        condition_rate=0.5,
        random_rate=0.5,
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
    net, loaded = filled(net, state, path)
    return net, opt, loaded


def load_authors(
    folder: Path | str,
    masked_name: str,
    *,
    masked_file: str | None = None,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    text: TextEncoder | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    unlearn: str = "both",
    variant: str = "default",
) -> Bamm:
    """A BAMM model from the authors' folders.

    Args:
        folder: ``<checkpoints>/<dataset>``, which holds the model folders.
        masked_name: folder of BAMM's transformer; ``masked_file``: a file in its ``model/``.
        rvq_name: folder of the tokenizer, unless the transformer's ``opt.txt`` names it.
        residual_name: folder of the residual transformer; None = ``rtrans``, or the only one of that tokenizer.
        text: prompt encoder (the published model: CLIP ViT-B/32, pooled); None = only ready-made conditions.
        sampling, unlearn, variant: see :class:`Bamm`.

    Raises:
        CheckpointError: one line naming the file and what was expected; MoMask's transformer is refused by name.
    """
    folder = Path(folder)
    rvq_name = rvq_name or read_options(folder / masked_name / "opt.txt").get("vq_name", "")
    rvq, rvq_origin = load_rvq(folder / rvq_name, variant=variant)
    masked, opt, masked_origin = load_transformer(folder / masked_name, rvq.options.codes, masked_file)
    residual, residual_origin = fitting_residual(folder, rvq_name, residual_name, rvq)
    check_text(masked.text_width, text, masked_origin["file"])
    model = frame(
        Bamm,
        features=rvq.features,
        text=text,
        rvq=rvq.options,
        masked=masked.options,
        residual=residual.options,
        sampling=changed(SAMPLING, sampling),
        unlearn=unlearn,
        variant=variant,
        text_width=masked.text_width,
        **settings(opt),
    )
    model.assemble(rvq, masked, residual)
    model.statistics.assign(*read_statistics(folder / rvq_name / "meta", rvq.features))
    model.origin = {"format": "bamm-authors", "masked": masked_origin, "residual": residual_origin, "rvq": rvq_origin}
    return model


def load_donor(origin: str, text: TextEncoder | None) -> TokenBackbone[Any]:
    """A trained MoMask or BAMM of ours whose tokenizer and residual transformer are to be used again.

    Args:
        origin: a model folder, a run folder with ``model/``, or ``asset:<folder>``.
        text: prompt encoder for models that store none.

    Raises:
        CheckpointError: for anything else.
    """
    path = resolve(origin)
    path = path / "model" if (path / "model" / CONFIG).is_file() else path
    try:
        kind = stored_class(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"backbone.rvq_from={origin}: no model folder of ours; give a trained momask or bamm"
        ) from error
    if not issubclass(kind, TokenBackbone):
        raise CheckpointError(f"backbone.rvq_from={origin}: a {kind.name} has no tokenizer; give a momask or bamm")
    return kind.load_pretrained(path, text=text)


def borrow(origin: str, options: Mapping[str, Any]) -> Bamm:
    """A fresh transformer on the tokenizer, residual transformer, statistics and text encoder of a trained model.

    The text encoder stays frozen in training: the residual transformer was trained with it. ``options``: arguments of
    :class:`Bamm`, of which only those of the fresh transformer and of its use are taken.
    """
    donor = load_donor(origin, options.get("text"))
    own = {name: options[name] for name in ("masked", "sampling", "unlearn", "variant") if name in options}
    kept = ("features", "text", "rvq", "residual", "fps", "min_frames", "max_frames", "feat_bias", "text_width")
    shared = {name: getattr(donor, name) for name in kept}
    shared |= {"rvq": donor.rvq.options, "residual": donor.residual.options}
    model = Bamm(**shared, **own, borrowed=True)
    model.assemble(donor.rvq, model.masked, donor.residual)
    model.statistics.load_state_dict(donor.statistics.state_dict())
    model.origin = {"format": "hmu", "tokenizer": donor.origin}
    model.check_features(options, origin)
    return model


@builds(Bamm)
def build(
    checkpoint: str | None = None,
    *,
    rvq_from: str | None = None,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    **options: Any,
) -> Bamm:
    """The Hydra target of ``configs/backbone/bamm*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' model folder
            (``<checkpoints>/<dataset>/<name>``) or a file in its ``model/``; ``asset:<folder>`` for a packaged one.
        rvq_from: without a checkpoint: a trained MoMask or BAMM of ours whose tokenizer, residual transformer,
            statistics and text encoder are used again, so that only the stage ``masked`` is left to train.
        rvq_name, residual_name: the authors' folders, see :func:`load_authors`.
        options: arguments of :class:`Bamm`. With a checkpoint its own are used, but for ``text`` (unless the folder
            stores one), ``sampling``, ``unlearn`` and ``variant``.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    if checkpoint is None and rvq_from is not None:
        return borrow(rvq_from, options)
    names = {"rvq_name": rvq_name, "residual_name": residual_name}
    return Bamm.open(checkpoint, partial(_authors, names), **options)


def _authors(names: dict[str, Any], path: Path, **options: Any) -> Bamm | None:
    place = locate(path)
    if place is None:
        return None
    return load_authors(place.folder, place.name, masked_file=place.file, **names, **options)
