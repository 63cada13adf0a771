"""``refine=retrieval``: which keyword clips really look like the concept, found without leaving the process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.store import Store
from hmu.checks import check_fields
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.divide import namer, refine_by_retrieval
from hmu.data.partition import Partition
from hmu.errors import ConfigError
from hmu.evaluation.embedding import embed
from hmu.evaluation.gallery import build_gallery
from hmu.evaluation.generation import Model, Plan
from hmu.evaluation.sets import PromptSet
from hmu.evaluators.base import Evaluator
from hmu.metrics.motion_search import search
from hmu.motion.representation import Representation
from hmu.phases import Phase
from hmu.progress import phase
from hmu.values import Count, Seed

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RetrievalRefinement:
    """The published TMR step with its thresholds; see ``configs/refine/retrieval.yaml`` for what each number does."""

    gallery: str
    top: Count
    least: Count
    repeats: Count
    motions: Literal["generated", "real"]
    exclude_self: bool
    batch_size: Count
    seed: Seed
    guidance: float | None
    steps: Count | None

    def __post_init__(self) -> None:
        check_fields(self, "refine")

    def __call__(
        self,
        sides: Partition,
        source: DatasetSource,
        concept: Concept,
        backbone: MotionBackbone,
        evaluator: Evaluator,
        cache: Path | None = None,
    ) -> Partition:
        """``sides`` with the clips that do not look like the concept retained; one must be left to forget."""
        clips = source.clips(sides.split, sides.forget)
        gallery = build_gallery(source, self.gallery, evaluator, cache)
        generated = self.motions == "generated"
        prompts, names = _prompts(clips, source.representation) if generated else (None, list(clips.clip_ids))
        rounds = 1 if prompts is None else self.repeats
        most = max(names.count(name) for name in set(names)) * rounds
        if most < self.least:
            raise ConfigError(
                f"refine.least={self.least}, but no clip has more than {most} motions: lower it, or raise repeats"
            )
        records: list[dict[str, Any]] = []
        own = names if self.exclude_self else None
        with phase("refining", rounds * len(names), "motions") as done:
            for repeat, (motion, lengths) in enumerate(self._motions(clips, prompts, backbone, done)):
                hits = search(embed(evaluator, motion, lengths, self.batch_size), gallery, self.top, own)
                for name, of_motion in zip(names, hits, strict=True):
                    retrieval = [hit.to_json() for hit in of_motion]
                    records.append({"name": name, "repeat": repeat, "retrieval": retrieval})
        refined = refine_by_retrieval(sides, records, namer(concept), self.least)
        alike, all_ = len(refined.forget), len(sides.forget)
        log.info("refined: %d of %d keyword clips look like '%s'", alike, all_, concept.name)
        return refined

    def _motions(
        self, clips: MotionClips, prompts: PromptSet | None, backbone: MotionBackbone, done: Phase
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What is searched with, by repeat: what is generated for ``prompts``, else the clips themselves."""
        if prompts is None:
            batch = clips.batch(torch.arange(len(clips)))
            yield batch.motion, batch.lengths
            done.advance(len(clips))
        else:
            plan = Plan(self.repeats, self.seed, self.batch_size, self.guidance, self.steps, Store(None))
            for motion in plan.motions(Model("base", backbone, ""), prompts, done):
                yield motion, prompts.lengths


def _prompts(clips: MotionClips, representation: Representation) -> tuple[PromptSet, list[str]]:
    """Every caption of every clip with the clip's length, and the clip that each belongs to."""
    rows = [(i, caption) for i, captions in enumerate(clips.captions) for caption in captions]
    lengths = torch.from_numpy(clips.lengths).clamp(max=clips.max_frames) // clips.unit_length * clips.unit_length
    index = torch.tensor([i for i, _ in rows])
    captions = tuple(caption for _, caption in rows)
    prompts = PromptSet("refine", captions, lengths[index], None, {}, representation)
    return prompts, [clips.clip_ids[i] for i, _ in rows]
