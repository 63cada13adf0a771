"""MoMask from the authors' folders (``mtrans``, ``rtrans``, ``length_estimator`` …), and the Hydra target."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.options import PUBLISHED_LENGTH, LengthOptions, SamplingOptions
from hmu.backbones.options import changed
from hmu.backbones.tokens.authors import Origin, Part, load_model
from hmu.backbones.tokens.options import TransformerOptions
from hmu.checkpoints.authors import Located, load_strictly, locate, read_state, source, take, weight_file
from hmu.checkpoints.pretrained import builds
from hmu.errors import CheckpointError

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


def check_codes(net: MaskedTransformer, file: str, codes: int) -> None:
    """Refuse BAMM's transformer, whose head has one class more, and one of another tokenizer than of ``codes``."""
    if net.codes == codes + 1:
        raise CheckpointError(f"{file}: holds a BAMM transformer (its head has an end class): choose backbone=bamm")
    if net.codes != codes:
        raise CheckpointError(f"{file}: has {net.codes} codes, its tokenizer {codes}; name the one it was made with")


def load_masked(folder: Path | str, file: str | None = None) -> tuple[MaskedTransformer, Origin]:
    """A masked transformer from its folder, in evaluation mode, and where it came from.

    A BAMM transformer may pass here: :func:`check_codes` tells it by its tokenizer.
    """
    part = Part.read(folder, file, ("t2m_transformer",), "MoMask masked transformer (mtrans)")
    if "trans" in part.opt:
        raise CheckpointError(f"{part.path}: holds a BAMM transformer (its opt.txt has 'trans'): choose backbone=bamm")
    sizes = part.size("token_emb.weight", 0) - 2, part.size("token_emb.weight", 1), part.size("cond_emb.weight", 1)
    return part.fill(MaskedTransformer(*sizes, TransformerOptions(**part.encoder_sizes())))


def load_length(folder: Path | str, file: str | None = None) -> tuple[LengthEstimator, Origin]:
    """A length estimator from its folder (it has no ``opt.txt``), in evaluation mode, and where it came from."""
    path, what = weight_file(Path(folder), file, LENGTH_FILES), "length estimator"
    state = read_state(path, ("estimator",), f"a {what}")
    first, *others = (take(state, f"output.{layer}.weight", path, what).shape for layer in (0, 4, 8, 11))
    hidden = (first[0], *(shape[0] for shape in others[:2]))
    model = LengthEstimator(first[1], LengthOptions(others[2][0], hidden, PUBLISHED_LENGTH.dropout))
    load_strictly(model, state, path)
    return model.eval(), source(path)


def load_authors(
    folder: Path | str,
    masked_name: str = "mtrans",
    *,
    masked_file: str | None = None,
    length_name: str | None = None,
    sampling: Any = None,
    **options: Any,
) -> MoMask:
    """A MoMask model from the authors' folders.

    Args:
        folder: ``<checkpoints>/<dataset>``, which holds the model folders.
        masked_name: folder of the masked transformer; ``masked_file``: a file in its ``model/``.
        length_name: folder of the length estimator; None = ``length_estimator`` where that exists.
        sampling: changes to the authors'.
        options: see :func:`~hmu.backbones.tokens.authors.load_model`.

    Raises:
        CheckpointError: one line naming the file and what was expected.
    """
    folder = Path(folder)
    place, beside = Located(folder, masked_name, masked_file), folder / (length_name or LENGTH_FOLDER)
    there = length_name is not None or any((beside / "model" / name).is_file() for name in LENGTH_FILES)
    length, origin = load_length(beside) if there else (None, None)
    options["length"] = None if length is None else length.options
    options["sampling"] = changed(SAMPLING, sampling)
    model = load_model(MoMask, place, load_masked, check_codes, **options)
    model.length = length
    if origin is not None:
        model.origin["length"] = origin
    return model


@builds(MoMask)
def build(
    checkpoint: str | None,
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
