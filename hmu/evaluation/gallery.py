"""Real clips as a retrieval gallery: embedded once per data and evaluator, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.store import Store, content_key
from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.errors import ConfigError
from hmu.evaluators.base import Evaluator
from hmu.metrics.motion_search import Gallery
from hmu.progress import phase

log = logging.getLogger(__name__)


def searched_by(evaluator: Evaluator) -> Evaluator:
    """In whose space galleries are searched: of two evaluators TMR's, else the first."""
    known: dict[str, Evaluator] = getattr(evaluator, "others", {})
    first: Evaluator = getattr(evaluator, "first", evaluator)
    return known.get("tmr", first)


def build_gallery(source: DatasetSource, split: str, evaluator: Evaluator, cache: Path | None) -> Gallery:
    """Every clip of a split, described by its first caption.

    Args:
        source: the data set.
        split: ``train``, ``test`` or ``all`` (every split of the data set), or ``a+b``.
        evaluator: embeds; TMR's latents are compared by cosine, others by distance.
        cache: folder of embeddings, safe to delete; None keeps nothing.

    Raises:
        ConfigError: no such split.
    """
    clips = source.clips(gallery_split(source, split))
    key = content_key(clips.fingerprint, evaluator.fingerprint)
    latents = Store(cache).get(key, lambda: _embeddings(clips, evaluator))
    return Gallery(clips.ids, tuple(clips.texts), latents, cosine=evaluator.name == "tmr")


def gallery_split(source: DatasetSource, split: str) -> str:
    """``split`` as the data set names it.

    Raises:
        ConfigError: no such split.
    """
    name = "+".join(source.splits) if split == "all" else split
    unknown = [part for part in name.split("+") if part not in source.splits]
    if unknown:
        raise ConfigError(f"suite.gallery={split}: '{unknown[0]}' is no split of {source.name}; use train, test or all")
    return name


def _embeddings(clips: MotionClips, evaluator: Evaluator) -> Tensor:
    device = next(evaluator.parameters()).device
    latents = torch.zeros(len(clips), evaluator.width)
    order = np.argsort(clips.lengths, kind="stable")
    with torch.inference_mode(), phase("embedding gallery", len(order), "clips") as done:
        for rows in np.array_split(order, -(-len(order) // 256)):
            batch = clips.batch(rows).to(device)
            latents[torch.from_numpy(rows)] = evaluator.embed_motion(batch.motion, batch.lengths).float().cpu()
            done.advance(len(rows))
    return latents
