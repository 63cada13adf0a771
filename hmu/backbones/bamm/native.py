"""BAMM from our own model folder, from the authors' folders, on a trained MoMask, or fresh: the Hydra target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.model import Bamm
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.momask import folder as files
from hmu.backbones.momask import native as momask
from hmu.backbones.momask.authors import load_residual
from hmu.backbones.momask.files import load_rvq, load_statistics
from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.options import ResidualOptions, RvqOptions
from hmu.checkpoints.authors import locate
from hmu.checkpoints.folders import CONFIG, family_of
from hmu.checkpoints.options import read_options
from hmu.checkpoints.pretrained import resolve
from hmu.checkpoints.safe import sha256
from hmu.checkpoints.sizes import check_model
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.text.base import TextEncoder
from hmu.text.stored import text_from_config, text_to_config

FAMILY = "bamm"
SETTINGS = ("features", "fps", "text_width", "min_frames", "max_frames", "feat_bias", "unlearn", "variant")


def parts_of(model: Bamm, text: bool) -> dict[str, nn.Module | None]:
    """The modules of a model folder by the prefix of their weights."""
    stored = {"statistics": model.statistics, "rvq": model.rvq, "masked": model.masked, "residual": model.residual}
    return {**stored, "text": model.text if text else None}


def save_pretrained(model: Bamm, folder: Path | str, dtype: str = "float32") -> Path:
    """Write the model folder; a compact text encoder is stored with the model, CLIP is not."""
    text = text_to_config(model.text)
    config = {name: getattr(model, name) for name in SETTINGS}
    config |= {part: dataclasses.asdict(getattr(model, part).options) for part in ("rvq", "masked", "residual")}
    config |= {"sampling": dataclasses.asdict(model.sampling), "text": text, "borrowed": model.borrowed}
    return files.write_folder(folder, FAMILY, config, parts_of(model, text is not None), dtype)


def load_pretrained(folder: Path | str, *, text: TextEncoder | None = None, **changes: Any) -> Bamm:
    """A model from its folder, in evaluation mode and float32; a stored text encoder is frozen.

    Args:
        folder: what :func:`save_pretrained` wrote.
        text: encoder for models that store none (CLIP); a stored one wins.
        changes: ``sampling``, ``unlearn``, ``variant`` that replace the stored ones; None = as stored.

    Raises:
        CheckpointError: one line naming file and fault.
    """
    folder = Path(folder)
    config = files.read_config(folder, FAMILY)
    check_model(config, folder / "config.json", folder / files.WEIGHTS)
    encoder, borrowed = config.pop("text", None), bool(config.pop("borrowed", False))
    text = text if encoder is None else text_from_config(encoder, Path(folder) / CONFIG).requires_grad_(False)
    try:
        model = Bamm(text=text, **{**config, **{key: value for key, value in changes.items() if value is not None}})
    except TypeError as error:
        raise CheckpointError(f"{folder / CONFIG}: written by another version ({shown(error, 120)})") from error
    _check_text(model, config.get("text_width", model.text_width), folder)
    files.fill_parts(folder, parts_of(model, encoder is not None))
    model.borrowed = borrowed
    model.origin = {"format": "hmu", "model": {"file": str(folder), "sha256": sha256(folder / files.WEIGHTS)}}
    return model.eval()


def _check_text(model: Bamm, width: int, source: Path | str) -> None:
    if model.text_width != width:
        raise CheckpointError(f"{source}: reads text of width {width}, the text encoder has {model.text_width}")


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
    name = rvq_name or read_options(folder / masked_name / "opt.txt").get("vq_name", "")
    rvq, rvq_origin = load_rvq(folder / name, variant=variant)
    masked, opt, masked_origin = load_transformer(folder / masked_name, rvq.options.codes, masked_file)
    residual, residual_origin = load_residual(momask.find_residual(folder, name, residual_name))
    found, wanted = (residual.quantizers, residual.codes), (rvq.options.quantizers, rvq.options.codes)
    if found != wanted:
        raise CheckpointError(
            f"{residual_origin['file']}: has (layers, codes) {found}, the tokenizer {name} has {wanted}; give "
            "backbone.residual_name=<folder>"
        )
    kit = opt.get("dataset_name") == "kit"
    model = Bamm(
        rvq.features, text, dataclasses.replace(rvq.options, codes=1, code_dim=1, width=1, depth=1, norm="none"),
        BidirectionalOptions(2, 1, 1, 1, positions=1000, max_tokens=masked.options.max_tokens),
        ResidualOptions(2, 1, 1, 1, positions=1), sampling, 12.5 if kit else 20.0, masked.text_width,
        24 if kit else 40, int(opt.get("max_motion_length", 196)), unlearn=unlearn, variant=variant,
    )  # fmt: skip
    _check_text(model, masked.text_width, masked_origin["file"])
    model.install(rvq, masked, residual)
    model.statistics.assign(*load_statistics(folder / name, rvq.features))
    model.origin = {"format": "bamm-authors", "masked": masked_origin, "residual": residual_origin, "rvq": rvq_origin}
    return model.eval()


def load_donor(source: str, text: TextEncoder | None) -> MoMask:
    """A trained MoMask or BAMM of ours whose tokenizer and residual transformer are to be used again.

    Args:
        source: a model folder, a run folder with ``model/``, or ``asset:<folder>``.
        text: prompt encoder for models that store none.

    Raises:
        CheckpointError: for anything else.
    """
    path = resolve(source)
    path = path / "model" if (path / "model" / CONFIG).is_file() else path
    try:
        family = family_of(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"backbone.rvq_from={source}: no model folder of ours; give a trained momask or bamm"
        ) from error
    return load_pretrained(path, text=text) if family == FAMILY else momask.load_pretrained(path, text=text)


def borrow(
    source: str,
    text: TextEncoder | None,
    masked: BidirectionalOptions | Mapping[str, Any] | None,
    sampling: SamplingOptions | Mapping[str, Any] | None,
    unlearn: str,
    variant: str,
) -> Bamm:
    """A fresh transformer on the tokenizer, residual transformer, statistics and text encoder of a trained model.

    The text encoder stays frozen in training: the residual transformer was trained with it.
    """
    donor = load_donor(source, text)
    model = Bamm(
        donor.features, donor.text, donor.rvq.options, masked, donor.residual.options, sampling, donor.fps,
        donor.text_width, donor.min_frames, donor.max_frames, donor.feat_bias, unlearn, variant,
    )  # fmt: skip
    model.install(donor.rvq, model.masked, donor.residual)
    model.statistics.load_state_dict(donor.statistics.state_dict())
    model.borrowed = True
    model.origin = {"format": "hmu", "tokenizer": donor.origin}
    return model


def build(
    checkpoint: str | None = None,
    text: TextEncoder | None = None,
    features: int = 263,
    rvq: RvqOptions | Mapping[str, Any] | None = None,
    masked: BidirectionalOptions | Mapping[str, Any] | None = None,
    residual: ResidualOptions | Mapping[str, Any] | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    fps: float = 20.0,
    min_frames: int = 40,
    max_frames: int = 196,
    feat_bias: float = 5.0,
    unlearn: str = "both",
    rvq_from: str | None = None,
    rvq_name: str | None = None,
    residual_name: str | None = None,
    variant: str = "default",
) -> Bamm:
    """The Hydra target of ``configs/backbone/bamm*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' model folder
            (``<checkpoints>/<dataset>/<name>``) or a file in its ``model/``; ``asset:<folder>`` for a packaged one.
        text: prompt encoder; a model folder that stores its own uses that one.
        rvq_from: without a checkpoint: a trained MoMask or BAMM of ours whose tokenizer, residual transformer,
            statistics and text encoder are used again, so that only the stage ``masked`` is left to train.
        rvq_name, residual_name: the authors' folders, see :func:`load_authors`.

    The others are arguments of :class:`Bamm`. With a checkpoint, its sizes are used; ``sampling``, ``unlearn`` and
    ``variant`` stay as configured.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    kept = {"text": text, "sampling": sampling, "unlearn": unlearn, "variant": variant}
    if checkpoint is not None:
        path = resolve(str(checkpoint))
        place = locate(path)
        if place is not None:
            folder, name, file = place
            names = {"rvq_name": rvq_name, "residual_name": residual_name}
            model = load_authors(folder, name, masked_file=file, **names, **kept)  # type: ignore[arg-type]
        else:
            model = load_pretrained(path, **kept)  # type: ignore[arg-type]
        source = str(path)
    elif rvq_from is not None:
        model, source = borrow(rvq_from, text, masked, sampling, unlearn, variant), rvq_from
    else:
        return Bamm(
            features, text, rvq, masked, residual, sampling, fps, None, min_frames, max_frames, feat_bias, unlearn,
            variant,
        )  # fmt: skip
    if model.features != features:
        raise ConfigError(
            f"backbone.features={features}, but {source} generates {model.features} columns: set features to that"
        )
    return model
