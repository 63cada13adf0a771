"""Evaluator folders: the authors' (``text_mot_match`` beside ``Comp_v6_KLD005``) and ours."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.arrays import load_array
from hmu.checkpoints.folders import CONFIG, read_model_config
from hmu.checkpoints.kinds import Kind, Whole, check_values
from hmu.checkpoints.safe import load_safetensors, load_tensors, save_safetensors, write_json
from hmu.documents import read_json
from hmu.errors import CheckpointError, DataError, HmuError, shown
from hmu.evaluators.guo.evaluator import CONTACTS, GuoEvaluator
from hmu.evaluators.guo.vocabulary import CLASSES, Vocabulary

FORMAT = "hmu-evaluator-guo"
ASSET = "asset:"
MATCH, STATISTICS = "text_mot_match", "Comp_v6_KLD005"
ENCODERS = ("movement_encoder", "text_encoder", "motion_encoder")
_SIZES = ("features", "word", "text_hidden", "motion_hidden", "movement_hidden", "movement_latent", "width")
_SHAPES = {*_SIZES, "unit_length", "max_frames"}


def widths(encoders: Mapping[str, Mapping[str, Tensor]]) -> dict[str, int]:
    """Layer widths from tensor shapes: nothing in the authors' files states them.

    Raises:
        CheckpointError: a tensor is missing, or its shape fits no evaluator (without the file's name).
    """
    try:
        movement, text, motion = (encoders[name] for name in ENCODERS)
        hidden, inputs, _ = movement["main.0.weight"].shape
        word, classes = text["pos_emb.weight"].shape
        sizes = {
            "features": int(inputs) + CONTACTS,
            "word": int(word),
            "text_hidden": int(text["input_emb.weight"].shape[0]),
            "motion_hidden": int(motion["input_emb.weight"].shape[0]),
            "movement_hidden": int(hidden),
            "movement_latent": int(movement["out_net.weight"].shape[0]),
            "width": int(text["output_net.3.weight"].shape[0]),
        }
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise CheckpointError(f"not the HumanML3D evaluator: {type(error).__name__} {error}") from error
    if classes != len(CLASSES):
        raise CheckpointError(f"knows {classes} word classes, expected {len(CLASSES)}")
    return sizes


def load_encoders(path: Path | str) -> dict[str, dict[str, Tensor]]:
    """The three encoders of the authors' ``finest.tar``, as stored; CheckpointError if one is missing."""
    content = load_tensors(path)
    missing = [name for name in ENCODERS if not isinstance(content.get(name), Mapping)]
    if missing:
        raise CheckpointError(
            f"{path}: has no '{missing[0]}', expected the evaluator's {', '.join(ENCODERS)}; is it text_mot_match?"
        )
    return {name: dict(content[name]) for name in ENCODERS}


def from_encoders(encoders: Mapping[str, Mapping[str, Tensor]], source: str, **options: Any) -> GuoEvaluator:
    """An evaluator of the stored widths with these weights; ``source`` names the file in error messages."""
    try:
        evaluator = GuoEvaluator(**{**widths(encoders), **options})
        for name in ENCODERS:
            getattr(evaluator, name).load_state_dict(encoders[name])
    except HmuError as error:
        raise type(error)(f"{source}: {error}") from error
    except RuntimeError as error:
        raise CheckpointError(f"{source}: {' '.join(str(error).split())}") from error
    return evaluator.eval()


def from_authors(checkpoints: Path | str, glove: Path | str, **options: Any) -> GuoEvaluator:
    """Load ``<checkpoints>/text_mot_match/model/finest.tar`` and the statistics of ``Comp_v6_KLD005/meta``.

    Args:
        checkpoints: the authors' folder of one data set (``checkpoints/t2m``, ``checkpoints/kit``).
        glove: folder with ``our_vab_data.npy`` and ``our_vab_idx.pkl``.
        options: further arguments of :class:`GuoEvaluator` (``variant`` ...).

    Raises:
        CheckpointError, DataError: a file is missing, broken, unsafe, or of another width.
    """
    folder = Path(checkpoints)
    path = folder / MATCH / "model" / "finest.tar"
    evaluator = from_encoders(load_encoders(path), str(path), glove=glove, **options)
    meta = folder / STATISTICS / "meta"
    try:
        evaluator.set_statistics(_load_array(meta / "mean.npy"), _load_array(meta / "std.npy"))
    except DataError as error:
        raise DataError(f"{meta}: {error}") from error
    return evaluator


def _load_array(path: Path) -> Tensor:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file, expected the evaluator's statistics; they come with its checkpoint"
        )
    try:
        return torch.from_numpy(load_array(path, CheckpointError).astype(np.float64))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a plain .npy array of numbers; copy it again") from error


def save_pretrained(evaluator: GuoEvaluator, folder: Path | str, half: bool = False, decoder: bool = False) -> None:
    """Write ``config.json``, ``vocabulary.json`` and ``weights.safetensors``.

    Args:
        evaluator: what to write.
        folder: where; made if needed, files are replaced one by one, each atomically, the configuration last.
        half: store weights in float16 (statistics stay float32).
        decoder: also store the movement decoder, which only the stage ``decomp`` needs.
    """
    folder = Path(folder)
    state = {k: v for k, v in evaluator.state_dict().items() if decoder or not k.startswith("movement_decoder.")}
    if half:
        state = {k: v if k in ("mean", "std") else v.half() for k, v in state.items()}
    save_safetensors(folder / "weights.safetensors", state)
    write_json(folder / "vocabulary.json", list(evaluator.vocabulary.words))
    sizes = {
        **widths({name: getattr(evaluator, name).state_dict() for name in ENCODERS}),
        "unit_length": evaluator.unit_length,
        "max_frames": evaluator.max_frames,
    }
    write_json(folder / "config.json", {"format": FORMAT, "version": 1, "sizes": sizes})


def load_pretrained(folder: Path | str, **options: Any) -> GuoEvaluator:
    """Read a folder of :func:`save_pretrained`; ``options`` are arguments of :class:`GuoEvaluator` other than widths.

    Raises:
        CheckpointError: a file is missing or broken, or of another kind.
    """
    folder = Path(folder)
    config = read_model_config(folder, "guo", "evaluator")
    if not isinstance(config.get("sizes"), dict) or set(config["sizes"]) != _SHAPES:
        raise CheckpointError(f"{folder / CONFIG}: lacks sizes of the format '{FORMAT}'; copy the folder again")
    words = read_json(folder / "vocabulary.json", CheckpointError)
    state = load_safetensors(folder / "weights.safetensors")
    evaluator = GuoEvaluator(**_checked(config["sizes"], state, folder / "config.json"), **options)
    try:
        evaluator.set_vocabulary(Vocabulary(tuple(words)), state["word_vectors"].float())
        missing, unexpected = evaluator.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    except (KeyError, RuntimeError, DataError, TypeError) as error:
        raise CheckpointError(f"{folder}: files do not fit together: {' '.join(str(error).split())}") from error
    missing = [name for name in missing if not name.startswith("movement_decoder.")]
    if missing or unexpected:
        raise CheckpointError(f"{folder / 'weights.safetensors'}: lacks {missing[:1]} or has unknown {unexpected[:1]}")
    return evaluator.eval()


def _checked(sizes: Any, state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The sizes of ``path``, if the weights have them: nothing of another size is made."""
    encoders = {
        name: {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")} for name in ENCODERS
    }
    try:
        told = widths(encoders)
    except CheckpointError as error:
        raise CheckpointError(f"{path.parent}: {shown(error, 200)}") from error
    wrong = next((key for key, size in told.items() if sizes[key] != size), None)
    if wrong is not None:
        raise CheckpointError(
            f"{path}: {wrong}={shown(sizes[wrong])}, but its weights have {told[wrong]}; copy both again"
        )
    kinds: dict[str, Kind] = {"unit_length": Whole(4, 4), "max_frames": Whole(4, 100_000)}
    return told | check_values(sizes, f"{path}: ", kinds, CheckpointError)


def build(
    checkpoint: str | Path | None = None,
    glove: str | Path | None = None,
    features: int = 263,
    word: int = 300,
    text_hidden: int = 512,
    motion_hidden: int = 1024,
    movement_hidden: int = 512,
    movement_latent: int = 512,
    width: int = 512,
    max_frames: int = 196,
    learn_words: bool = False,
    word_dropout: float = 0.0,
    words_seed: int = 0,
    margin: float = 10.0,
    negatives: str = "shift",
    feat_bias: float = 25.0,
    variant: str = "default",
) -> GuoEvaluator:
    """The ``_target_`` of ``configs/evaluator``: a stored evaluator, or an untrained one of the given widths.

    Args:
        checkpoint: our folder (``config.json``) or the authors' (``text_mot_match/``), whose widths win;
            ``asset:<folder>`` for a packaged one; None = untrained.
        glove: the authors' word vectors; needed with their folder.
        features, word, text_hidden, motion_hidden, movement_hidden, movement_latent, width, max_frames, learn_words,
            word_dropout, words_seed, margin, negatives, feat_bias, variant: see :class:`GuoEvaluator`.

    Raises:
        CheckpointError: ``checkpoint`` is no evaluator folder.
    """
    habits = {
        "learn_words": learn_words,
        "word_dropout": word_dropout,
        "words_seed": words_seed,
        "margin": margin,
        "negatives": negatives,
        "feat_bias": feat_bias,
        "variant": variant,
    }
    if checkpoint is None:
        sizes = (word, text_hidden, motion_hidden, movement_hidden, movement_latent, width)
        return GuoEvaluator(features, *sizes, max_frames=max_frames, glove=glove, **habits)  # type: ignore[arg-type]
    folder = _resolve(str(checkpoint))
    if (folder / "config.json").is_file():
        return load_pretrained(folder, **habits)
    if (folder / MATCH).is_dir():
        if glove is None:
            raise CheckpointError(
                f"{folder}: the authors' evaluator needs their word vectors; set evaluator.glove=<folder>"
            )
        return from_authors(folder, glove, max_frames=max_frames, **habits)
    raise CheckpointError(
        f"{folder}: no evaluator there; expected config.json (ours) or {MATCH}/model/finest.tar (the authors')"
    )


def _resolve(checkpoint: str) -> Path:
    """A folder of the file system, or of the package (``asset:demo/evaluator``)."""
    if not checkpoint.startswith(ASSET):
        return Path(checkpoint).expanduser()
    return Path(str(resources.files("hmu"))).joinpath("assets", *checkpoint.removeprefix(ASSET).split("/"))
