"""MoMask from our own model folder, from the authors' folders, or fresh: the Hydra target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hmu.backbones.momask import folder as files
from hmu.backbones.momask.authors import (
    LENGTH_FILES,
    LENGTH_FOLDER,
    check_codes,
    load_length,
    load_masked,
    load_residual,
)
from hmu.backbones.momask.files import load_rvq, load_statistics
from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.options import (
    LengthOptions,
    ResidualOptions,
    RvqOptions,
    SamplingOptions,
    TransformerOptions,
)
from hmu.checkpoints.authors import locate
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.options import read_options
from hmu.checkpoints.pretrained import resolve
from hmu.checkpoints.safe import sha256
from hmu.checkpoints.sizes import check_model
from hmu.errors import CheckpointError, ConfigError, shown
from hmu.text.base import TextEncoder
from hmu.text.stored import text_from_config, text_to_config

FAMILY = "momask"


def parts_of(model: MoMask, text: bool) -> dict[str, nn.Module | None]:
    """The modules of a model folder by the prefix of their weights."""
    return {
        "statistics": model.statistics,
        "rvq": model.rvq,
        "masked": model.masked,
        "residual": model.residual,
        "length": model.length,
        "text": model.text if text else None,
    }


def save_pretrained(model: MoMask, folder: Path | str, dtype: str = "float32") -> Path:
    """Write the model folder; a compact text encoder is stored with the model, CLIP is not."""
    text = text_to_config(model.text)
    config = {
        "features": model.features,
        "fps": model.fps,
        "rvq": dataclasses.asdict(model.rvq.options),
        "masked": dataclasses.asdict(model.masked.options),
        "residual": dataclasses.asdict(model.residual.options),
        "length": None if model.length is None else dataclasses.asdict(model.length.options),
        "sampling": dataclasses.asdict(model.sampling),
        "text_width": model.text_width,
        "min_frames": model.min_frames,
        "max_frames": model.max_frames,
        "feat_bias": model.feat_bias,
        "unlearn": model.unlearn,
        "variant": model.variant,
        "text": text,
    }
    return files.write_folder(folder, FAMILY, config, parts_of(model, text is not None), dtype)


def load_pretrained(folder: Path | str, *, text: TextEncoder | None = None, **changes: Any) -> MoMask:
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
    stored, config["text"] = config.get("text"), text
    if stored is not None:
        config["text"] = text_from_config(stored, Path(folder) / CONFIG).requires_grad_(False)
    config.update({key: value for key, value in changes.items() if value is not None})
    try:
        model = MoMask(**config)
    except TypeError as error:
        raise CheckpointError(f"{folder / CONFIG}: written by another version ({shown(error, 120)})") from error
    if model.text_width != config.get("text_width"):
        raise CheckpointError(
            f"{folder}: reads text of width {shown(config.get('text_width'))}, the encoder has {model.text_width}"
        )
    if config.get("length") is None:
        model.length = None
    files.fill_parts(folder, parts_of(model, stored is not None))
    model.origin = {"format": "hmu", "model": {"file": str(folder), "sha256": sha256(folder / files.WEIGHTS)}}
    return model.eval()


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
        found = ", ".join(p.name for p in fitting) or "none"
        raise CheckpointError(
            f"{folder}: found {found} as residual transformers of '{tokenizer}'; give backbone.residual_name=<folder>"
        )
    return fitting[0]


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
    residual, residual_origin = load_residual(find_residual(folder, rvq_name, residual_name))
    if (residual.codes, residual.quantizers) != (rvq.options.codes, rvq.options.quantizers):
        raise CheckpointError(
            f"{residual_origin['file']}: has {residual.quantizers} layers of {residual.codes} codes, the tokenizer "
            f"{rvq_name} has {rvq.options.quantizers} of {rvq.options.codes}; give backbone.residual_name=<folder>"
        )
    length_folder = folder / (length_name or LENGTH_FOLDER)
    there = length_name is not None or any((length_folder / "model" / name).is_file() for name in LENGTH_FILES)
    length, length_origin = load_length(length_folder) if there else (None, None)
    text_width = masked.cond_emb.in_features
    if text is not None and text.width != text_width:
        raise CheckpointError(
            f"{masked_origin['file']}: reads text of width {text_width}, the text encoder has {text.width}"
        )
    kit = opt.get("dataset_name") == "kit"
    model = MoMask(
        features=rvq.features,
        text=text,
        rvq=_tiny(rvq.options),
        masked=TransformerOptions(2, 1, 1, 1, positions=1),
        residual=ResidualOptions(2, 1, 1, 1, positions=1),
        length=None if length is None else length.options,
        sampling=sampling,
        fps=12.5 if kit else 20.0,
        text_width=text_width,
        min_frames=24 if kit else 40,
        max_frames=opt.get("max_motion_length", 196),
        unlearn=unlearn,
        variant=variant,
    )
    model.assemble(rvq, masked, residual, length)
    model.statistics.assign(*load_statistics(folder / rvq_name, rvq.features))
    model.origin = {
        "format": "momask-authors",
        "masked": masked_origin,
        "residual": residual_origin,
        "rvq": rvq_origin,
        **({} if length_origin is None else {"length": length_origin}),
    }
    return model.eval()


def _tiny(options: RvqOptions) -> RvqOptions:
    """A tokenizer that is built only to be replaced by the loaded one."""
    return dataclasses.replace(options, codes=1, code_dim=1, width=1, depth=1, norm="none")


def authors_folder(path: Path) -> tuple[Path, str, str | None] | None:
    """``(dataset folder, masked transformer, file or None)`` of an authors' checkpoint; None for something else.

    Accepted: ``<checkpoints>/<dataset>/<name>``, a file in its ``model/``, or ``<checkpoints>/<dataset>`` with a folder
    ``mtrans``.
    """
    place = locate(path)
    if place is not None:
        return place
    return (path, "mtrans", None) if (path / "mtrans" / "opt.txt").is_file() else None


def build(
    checkpoint: str | None = None,
    text: TextEncoder | None = None,
    features: int = 263,
    rvq: RvqOptions | Mapping[str, Any] | None = None,
    masked: TransformerOptions | Mapping[str, Any] | None = None,
    residual: ResidualOptions | Mapping[str, Any] | None = None,
    length: LengthOptions | Mapping[str, Any] | None = None,
    sampling: SamplingOptions | Mapping[str, Any] | None = None,
    fps: float = 20.0,
    min_frames: int = 40,
    max_frames: int = 196,
    feat_bias: float = 5.0,
    unlearn: str = "both",
    rvq_name: str | None = None,
    residual_name: str | None = None,
    length_name: str | None = None,
    variant: str = "default",
) -> MoMask:
    """The Hydra target of ``configs/backbone/momask*.yaml``.

    Args:
        checkpoint: None = fresh weights of the given sizes; a model folder of ours; the authors' folder
            (``<checkpoints>/<dataset>``, or ``/<name>`` in it, or a file in that one's ``model/``); ``asset:<folder>``
            for a packaged one.
        text: prompt encoder; a model folder that stores its own uses that one.
        rvq_name, residual_name, length_name: the authors' folders, see :func:`load_authors`.

    The others are arguments of :class:`MoMask`. With a checkpoint, its sizes are used; ``sampling``, ``unlearn`` and
    ``variant`` stay as configured.

    Raises:
        CheckpointError, ConfigError: in one line.
    """
    if checkpoint is None:
        return MoMask(
            features, text, rvq, masked, residual, length, sampling, fps, None, min_frames, max_frames, feat_bias,
            unlearn, variant,
        )  # fmt: skip
    path = resolve(str(checkpoint))
    place = authors_folder(path)
    if place is not None:
        model = load_authors(
            place[0],
            place[1],
            masked_file=place[2],
            rvq_name=rvq_name,
            residual_name=residual_name,
            length_name=length_name,
            text=text,
            sampling=sampling,
            unlearn=unlearn,
            variant=variant,
        )
    else:
        model = load_pretrained(path, text=text, sampling=sampling, unlearn=unlearn, variant=variant)
    if model.features != features:
        raise ConfigError(
            f"backbone.features={features}, but {path} generates {model.features} columns: set features to that"
        )
    return model
