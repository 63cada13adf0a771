"""BAMM from the authors' folders ``<dataset>/{<bamm>, <rvq>, <rtrans>}``, on a trained MoMask, or fresh."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hmu.backbones.bamm.model import Bamm
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.options import changed
from hmu.backbones.tokens.authors import Origin, Part, load_model
from hmu.backbones.tokens.base import TokenBackbone
from hmu.checkpoints.authors import Located, locate
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.pretrained import builds, resolve, stored_class
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

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


def check_codes(net: BidirectionalTransformer, file: str, codes: int) -> None:
    """Refuse MoMask's transformer (one class and embedding fewer), and one of another tokenizer than of ``codes``."""
    shapes = f"token_emb has {net.codes + 3} rows and the head {net.codes + 1} classes"
    if net.codes == codes - 1:
        raise CheckpointError(
            f"{file}: {shapes}, no END class: this is MoMask's masked transformer (mtrans), not BAMM's; "
            "choose backbone=momask, or give BAMM's folder"
        )
    if net.codes != codes:
        raise CheckpointError(
            f"{file}: {shapes}, expected {codes + 3} and {codes + 1} for the tokenizer's {codes} codes; "
            "give the transformer and the tokenizer that were trained together"
        )


def load_transformer(folder: Path | str, file: str | None = None) -> tuple[BidirectionalTransformer, Origin]:
    """The transformer of a BAMM folder in evaluation mode, and where it came from. No parameter is ever dropped.

    MoMask's may pass here: :func:`check_codes` tells it by its tokenizer.
    """
    part = Part.read(folder, file, ("t2m_transformer", "trans"), "BAMM transformer")
    sizes = part.size("token_emb.weight", 0) - 3, part.size("token_emb.weight", 1), part.size("cond_emb.weight", 1)
    names = {name: name.replace(".blocks.", ".layers.").replace(".mlp.0.", ".linear1.") for name in part.state}
    options = BidirectionalOptions(
        **part._replace(state={names[name]: value for name, value in part.state.items()}).encoder_sizes(),
        blocks="t2mgpt" if any(name.startswith("seqTransEncoder.blocks.") for name in part.state) else "official",
        max_tokens=part.opt.get("max_motion_length", 196) // part.opt.get("unit_length", 4),
        condition_chance=0.5,
        condition_rate=0.5,
        random_rate=0.5,
    )
    return part.fill(BidirectionalTransformer(*sizes, options))


def load_authors(
    folder: Path | str, masked_name: str, *, masked_file: str | None = None, sampling: Any = None, **options: Any
) -> Bamm:
    """A BAMM model from the authors' folders.

    Args:
        folder: ``<checkpoints>/<dataset>``, which holds the model folders.
        masked_name: folder of BAMM's transformer; ``masked_file``: a file in its ``model/``.
        sampling: changes to the authors'.
        options: see :func:`~hmu.backbones.tokens.authors.load_model`.

    Raises:
        CheckpointError: one line naming the file and what was expected; MoMask's transformer is refused by name.
    """
    place = Located(Path(folder), masked_name, masked_file)
    return load_model(Bamm, place, load_transformer, check_codes, sampling=changed(SAMPLING, sampling), **options)


def load_donor(origin: str, text: TextEncoder | None) -> TokenBackbone[Any]:
    """A trained MoMask or BAMM of ours whose tokenizer and residual transformer are to be used again.

    ``origin``: a model folder, a run folder with ``model/``, or ``asset:<folder>``; ``text``: where it stores none.
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
    kept = ("features", "text", "fps", "min_frames", "max_frames", "feat_bias", "text_width")
    shared = {name: getattr(donor, name) for name in kept}
    model = Bamm(rvq=donor.rvq.options, residual=donor.residual.options, **shared, **own, borrowed=True)
    model.assemble(donor.rvq, model.masked, donor.residual)
    model.statistics.load_state_dict(donor.statistics.state_dict())
    model.origin = {"format": "hmu", "tokenizer": donor.origin}
    model.check_features(options, origin)
    return model


@builds(Bamm)
def build(
    checkpoint: str | None,
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
        rvq_name, residual_name: the authors' folders, see :func:`~hmu.backbones.tokens.authors.load_model`.
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
