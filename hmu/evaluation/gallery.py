"""Real clips as a retrieval gallery: embedded once, and what it says about generated motions (NCS, ranks, records)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.store import Store, content_key
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.devices import of_module
from hmu.errors import ConfigError
from hmu.evaluation.counting import Measured, Tally
from hmu.evaluation.sets import PromptSet
from hmu.evaluators.base import Evaluator
from hmu.metrics.motion_search import Gallery, Hit, first_ranks, search
from hmu.metrics.ncs import KS
from hmu.progress import phase

STORED = 10  # hits per motion that records keep


def searched_by(evaluator: Evaluator) -> Evaluator:
    """In whose space galleries are searched: of two evaluators TMR's, else the first."""
    known: dict[str, Evaluator] = getattr(evaluator, "others", {})
    first: Evaluator = getattr(evaluator, "first", evaluator)
    return known.get("tmr", first)


def build_gallery(source: DatasetSource, split: str, evaluator: Evaluator, cache: Path | None) -> Gallery:
    """Every clip of a split, described by its first caption.

    Args:
        split: see :func:`gallery_split`.
        evaluator: embeds; TMR's latents are compared by cosine, others by distance.
        cache: folder of embeddings, safe to delete; None keeps nothing.
    """
    clips = source.clips(gallery_split(source, split))
    key = content_key(clips.fingerprint, evaluator.fingerprint)
    latents = Store(cache).get(key, lambda: _embeddings(clips, evaluator))
    return Gallery(clips.ids, tuple(clips.texts), latents, cosine=evaluator.name == "tmr")


def gallery_split(source: DatasetSource, split: str) -> str:
    """``train``, ``test``, ``all`` (every split) or ``a+b`` as the data set names it; ConfigError for another."""
    name = "+".join(source.splits) if split == "all" else split
    unknown = [part for part in name.split("+") if part not in source.splits]
    if unknown:
        raise ConfigError(f"suite.gallery={split}: '{unknown[0]}' is no split of {source.name}; use train, test or all")
    return name


def _embeddings(clips: MotionClips, evaluator: Evaluator) -> Tensor:
    device = of_module(evaluator)
    latents = torch.zeros(len(clips), evaluator.width)
    order = np.argsort(clips.lengths, kind="stable")
    with torch.inference_mode(), phase("embedding gallery", len(order), "clips") as done:
        for rows in np.array_split(order, -(-len(order) // 256)):
            batch = clips.batch(rows).to(device)
            latents[torch.from_numpy(rows)] = evaluator.embed_motion(batch.motion, batch.lengths).float().cpu()
            done.advance(len(rows))
    return latents


@dataclass
class NcsGallery:
    """Searches the gallery for every motion that was generated for a set that asks for the concept.

    Attributes:
        gallery: real clips; evaluator: embeds motions in the gallery's space.
        exclude_self: leave the clip that a prompt was taken from (and its mirror image) out of its own answer.
        top: later ranks count as ``top + 1`` (published: 100).
        hits: what was found, by model and set, per repeat and prompt.
    """

    gallery: Gallery
    evaluator: Evaluator
    exclude_self: bool = True
    top: int = 100
    hits: dict[tuple[str, str], list[list[list[Hit]]]] = field(default_factory=dict)

    def measured(
        self, tally: Tally, prompts: PromptSet, embeddings: Sequence[Tensor], concept: Concept
    ) -> Iterator[Measured]:
        """``ncs@k``, mean and median first rank per repeat, and the same of the best rank over repeats.

        ``embeddings``: of every repeat ``(prompts, width)``. Nothing for sets that do not ask for the concept, or
        where no caption of the gallery names it.
        """
        named = torch.tensor([bool(concept.find(text)) for text in self.gallery.descriptions])
        if not prompts.asks or not bool(named.any()):
            return
        own = list(prompts.real.ids) if self.exclude_self and prompts.real is not None else None
        self.hits[tally.model, prompts.name] = [search(e, self.gallery, STORED, own) for e in embeddings]
        ranks = torch.stack([first_ranks(e, self.gallery, named, self.top, own) for e in embeddings])
        yield from rank_rows(tally, ranks)
        if len(ranks) > 1:
            yield from rank_rows(tally, ranks.amin(0, keepdim=True), "min_")

    def records(self, model: str, prompts: PromptSet) -> list[dict[str, Any]]:
        """The published records of what was found for one model and set."""
        names = [str(i) for i in range(len(prompts))] if prompts.real is None else list(prompts.real.ids)
        return [
            {
                "caption": prompts.captions[i].text,
                "name": names[i],
                "length": int(prompts.lengths[i]),
                "repeat": repeat,
                "retrieval": [hit.to_json() for hit in hits],
            }
            for repeat, of_repeat in enumerate(self.hits.get((model, prompts.name), ()))
            for i, hits in enumerate(of_repeat)
        ]


def rank_rows(tally: Tally, ranks: Tensor, prefix: str = "") -> Iterator[Measured]:
    """Rows of 1-based first ranks ``(repeats, prompts)``: shares should fall, ranks have no goal of their own."""
    for k in KS:
        yield tally.share(f"{prefix}ncs@{k}", [(line <= k).double() for line in ranks], direction="lower")
    lines = list(ranks.double())
    means, medians = ([float(line.mean()) for line in lines], [float(line.quantile(0.5)) for line in lines])
    yield tally.mean(tally.row(f"{prefix}mean_rank", means, direction="reference"), lines)
    yield Measured(tally.row(f"{prefix}median_rank", medians, direction="reference"))
