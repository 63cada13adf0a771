"""The authors' folders (``text_mot_match`` beside ``Comp_v6_KLD005``), and the Hydra target that opens any folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hmu.checkpoints.authors import naming, read_statistics
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.pretrained import builds
from hmu.checkpoints.safe import load_tensors
from hmu.errors import CheckpointError
from hmu.evaluators.guo.evaluator import CONTACTS, PUBLISHED, GuoEvaluator
from hmu.evaluators.guo.vocabulary import CLASSES

MATCH, STATISTICS = "text_mot_match", "Comp_v6_KLD005"
ENCODERS = ("movement_encoder", "text_encoder", "motion_encoder")


def widths(encoders: Mapping[str, Mapping[str, Tensor]]) -> dict[str, int]:
    """Layer widths from tensor shapes, which nothing else states."""
    movement, text, motion = (encoders[name] for name in ENCODERS)
    hidden, inputs, _ = movement["main.0.weight"].shape
    word, classes = text["pos_emb.weight"].shape
    if classes != len(CLASSES):
        raise CheckpointError(f"knows {classes} word classes, expected {len(CLASSES)}")
    return {
        "features": int(inputs) + CONTACTS,
        "word": int(word),
        "text_hidden": int(text["input_emb.weight"].shape[0]),
        "motion_hidden": int(motion["input_emb.weight"].shape[0]),
        "movement_hidden": int(hidden),
        "movement_latent": int(movement["out_net.weight"].shape[0]),
        "width": int(text["output_net.3.weight"].shape[0]),
    }


def load_encoders(path: Path | str) -> dict[str, dict[str, Tensor]]:
    """The three encoders of ``finest.tar`` as stored, tensors of any shape; CheckpointError if one is missing."""
    content = load_tensors(path)
    missing = [name for name in ENCODERS if not isinstance(content.get(name), Mapping)]
    if missing:
        raise CheckpointError(
            f"{path}: has no '{missing[0]}', expected the evaluator's {', '.join(ENCODERS)}; is it text_mot_match?"
        )
    return {name: dict(content[name]) for name in ENCODERS}


def from_encoders(encoders: Mapping[str, Mapping[str, Tensor]], source: str, **options: Any) -> GuoEvaluator:
    """An evaluator of the stored widths and these weights (any shape); ``source`` names the file in messages."""
    with naming(source, "the HumanML3D evaluator"):
        evaluator = GuoEvaluator(**{**PUBLISHED, **widths(encoders), **options})
        for name in ENCODERS:
            getattr(evaluator, name).load_state_dict(encoders[name])
    return evaluator.eval()


def from_authors(checkpoints: Path | str, glove: Path | str, **options: Any) -> GuoEvaluator:
    """Load ``<checkpoints>/text_mot_match/model/finest.tar`` and the statistics of ``Comp_v6_KLD005/meta``.

    ``checkpoints`` is the authors' folder of one data set (``checkpoints/t2m``), ``glove`` that of ``our_vab_data.npy``
    and ``our_vab_idx.pkl``.
    """
    folder = Path(checkpoints)
    path = folder / MATCH / "model" / "finest.tar"
    evaluator = from_encoders(load_encoders(path), str(path), glove=glove, **options)
    evaluator.statistics.assign(*read_statistics(folder / STATISTICS / "meta", evaluator.features))
    return evaluator


@builds(GuoEvaluator)
def build(checkpoint: str | Path | None, glove: str | Path | None = None, **options: Any) -> GuoEvaluator:
    """The ``_target_`` of ``configs/evaluator``: a stored evaluator, or an untrained one of the given widths.

    Args:
        checkpoint: our folder (``config.json``) or the authors' (``text_mot_match/``), whose widths win;
            ``asset:<folder>`` for a packaged one; None = untrained.
        glove: the authors' word vectors; needed with their folder.
    """

    def authors(folder: Path, **training: Any) -> GuoEvaluator | None:
        if (folder / CONFIG).is_file():
            return None
        if not (folder / MATCH).is_dir():
            raise CheckpointError(
                f"{folder}: no evaluator there; expected {CONFIG} (ours) or {MATCH}/model/finest.tar (the authors')"
            )
        if glove is None:
            raise CheckpointError(
                f"{folder}: the authors' evaluator needs their word vectors; set evaluator.glove=<folder>"
            )
        frames = {"max_frames": options["max_frames"]} if "max_frames" in options else {}
        return from_authors(folder, glove, **frames, **training)

    return GuoEvaluator.open(checkpoint, authors, glove=glove, **options)
