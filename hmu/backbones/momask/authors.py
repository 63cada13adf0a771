"""MoMask from the authors' folders (``mtrans``, ``rtrans``, ``length_estimator`` …), and the Hydra target."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.options import PUBLISHED_LENGTH, LengthOptions, SamplingOptions
from hmu.backbones.options import changed
from hmu.backbones.tokens.authors import encoder_sizes, filled, fitting_residual, frame, load_rvq, settings
from hmu.backbones.tokens.options import TransformerOptions
from hmu.checkpoints.authors import Located, check_text, locate, read_state, read_statistics, take, weight_file
from hmu.checkpoints.options import read_options
from hmu.checkpoints.pretrained import builds
from hmu.errors import CheckpointError
from hmu.text.base import TextEncoder

LENGTH_FOLDER, LENGTH_FILES = "length_estimator", ("finest.tar", "latest.tar")
#: of the authors' generation script
SAMPLING = SamplingOptions(
    steps=10,
    guidance=4.0,
    residual_guidance=5.0,
    temperature=1.0,
    residual_temperature=1.0,
    thres=0.9,
    residual_thres=0.9,
)


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
    return filled(MaskedTransformer(tokens - 2, code_dim, text_width, options), state, path)


def load_length(folder: Path | str, file: str | None = None) -> tuple[LengthEstimator, dict[str, Any]]:
    """A length estimator from its folder (it has no ``opt.txt``), in evaluation mode, and where it came from.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    path = weight_file(Path(folder), file, LENGTH_FILES)
    state, what = read_state(path, ("estimator",), "a length estimator"), "length estimator"
    weights = [take(state, f"output.{layer}.weight", path, what) for layer in (0, 4, 8, 11)]
    hidden = tuple(weight.shape[0] for weight in weights[:3])
    options = LengthOptions(classes=weights[3].shape[0], hidden=hidden, dropout=PUBLISHED_LENGTH.dropout)
    return filled(LengthEstimator(weights[0].shape[1], options), state, path)


def load_authors(
    folder: Path | str,
    masked_name: str = "mtrans",
    *,
    masked_file: str | None = None,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    length_name: str | None = None,
    text: TextEncoder | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    unlearn: str = "both",
    variant: str = "default",
) -> MoMask:
    """A MoMask model from the authors' folders.

    Args:
        folder: ``<checkpoints>/<dataset>``, which holds the model folders.
        masked_name: folder of the masked transformer; ``masked_file``: a file in its ``model/``.
        rvq_name: folder of the tokenizer, unless the masked transformer's ``opt.txt`` names it.
        residual_name: folder of the residual transformer; None = ``rtrans``, or the only one of that tokenizer.
        length_name: folder of the length estimator; None = ``length_estimator`` where that exists.
        text: prompt encoder (the published model: CLIP ViT-B/32, pooled); None = only ready-made conditions.
        sampling, unlearn, variant: see :class:`MoMask`.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    opt = read_options(folder / masked_name / "opt.txt")
    rvq_name = rvq_name or opt.get("vq_name", "")
    masked, masked_origin = load_masked(folder / masked_name, masked_file)
    rvq, rvq_origin = load_rvq(folder / rvq_name, variant=variant)
    check_codes(masked_origin["file"], masked.codes, rvq.options.codes)
    residual, residual_origin = fitting_residual(folder, rvq_name, residual_name, rvq)
    length_folder = folder / (length_name or LENGTH_FOLDER)
    there = length_name is not None or any((length_folder / "model" / name).is_file() for name in LENGTH_FILES)
    length, length_origin = load_length(length_folder) if there else (None, None)
    text_width = masked.cond_emb.in_features
    check_text(text_width, text, masked_origin["file"])
    model = frame(
        MoMask,
        features=rvq.features,
        text=text,
        rvq=rvq.options,
        masked=masked.options,
        residual=residual.options,
        length=None if length is None else length.options,
        sampling=changed(SAMPLING, sampling),
        unlearn=unlearn,
        variant=variant,
        text_width=text_width,
        **settings(opt),
    )
    model.assemble(rvq, masked, residual)
    model.length = length
    model.statistics.assign(*read_statistics(folder / rvq_name / "meta", rvq.features))
    model.origin = {
        "format": "momask-authors",
        "masked": masked_origin,
        "residual": residual_origin,
        "rvq": rvq_origin,
        **({} if length_origin is None else {"length": length_origin}),
    }
    return model


@builds(MoMask)
def build(
    checkpoint: str | None = None,
    *,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    length_name: str | None = None,
    **options: Any,
) -> MoMask:
    """The Hydra target of ``configs/backbone/momask*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' folder
            (``<checkpoints>/<dataset>``, or ``/<name>`` in it, or a file in that one's ``model/``); ``asset:<folder>``
            for a packaged one.
        rvq_name, residual_name, length_name: the authors' folders, see :func:`load_authors`.
        options: arguments of :class:`MoMask`. With a checkpoint its own are used, but for ``text`` (unless the folder
            stores one), ``sampling``, ``unlearn`` and ``variant``.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    names = {"rvq_name": rvq_name, "residual_name": residual_name, "length_name": length_name}
    return MoMask.open(checkpoint, partial(_authors, names), **options)


def _authors(names: dict[str, Any], path: Path, **options: Any) -> MoMask | None:
    whole = Located(path, "mtrans", None) if (path / "mtrans" / "opt.txt").is_file() else None
    place = locate(path) or whole
    if place is None:
        return None
    return load_authors(place.folder, place.name, masked_file=place.file, **names, **options)
