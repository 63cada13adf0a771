"""What an evaluator is: networks that embed motions and captions in one space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hmu.checkpoints.pretrained import Pretrained
from hmu.contract import Contract
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError, DataError
from hmu.text.words_bag import BagOfWords


class Evaluator(Contract, nn.Module):
    """Embeds motions and captions. Results come in the caller's order, for any batch size and order.

    Attributes:
        width: size of the joint embedding.
    """

    noun = "evaluator"
    name: str = "evaluator"
    width: int

    @abstractmethod
    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Motions in real units ``(batch, frames, features)``, lengths in frames ``(batch,)`` -> ``(batch, width)``.

        Normalises with the evaluator's own statistics and zeroes what lies beyond each length.
        """

    @abstractmethod
    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """Captions -> ``(batch, width)``. A caption without tokens is tagged by rule first."""

    @abstractmethod
    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """Captions without the concept's words (MM-Safe) -> ``(batch, width)``, and which changed, bool ``(batch,)``.

        ``definition``: ``clean`` masks whole words, ``hmu`` follows the published substring rule.
        """

    def embed_sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``(batch, any)`` whose cosines say which captions mean the same; not this evaluator's space.

        By default content words (:class:`hmu.text.words_bag.BagOfWords`), which know inflections and no synonyms.
        """
        pooled = BagOfWords().encode(texts).pooled
        assert pooled is not None
        return pooled

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identity of weights and statistics, for caches and ``metrics.json``."""


class TrainedEvaluator(Pretrained, Evaluator):
    """An evaluator that is trained in stages, stored in a model folder, and has statistics of its own.

    Attributes:
        stages: names of the trainable stages in training order.
        features: columns of the motion representation.
        mean, std: of the motions it was trained on ``(features,)``.
    """

    group = "evaluator"
    stages: tuple[str, ...] = ()
    features: int
    mean: Tensor
    std: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features, self.width = features, width
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Use these statistics, each ``(features,)``; DataError if the width or the values cannot be."""
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        if mean.shape != (self.features,) or std.shape != (self.features,):
            shapes = f"{tuple(mean.shape)}, {tuple(std.shape)}"
            raise DataError(f"statistics of the evaluator '{self.name}' have shapes {shapes}, not ({self.features},)")
        if not bool((std > 0).all() and torch.isfinite(std).all() and torch.isfinite(mean).all()):
            raise DataError(
                f"statistics of the evaluator '{self.name}': every std must be finite and greater than 0, every mean "
                "finite"
            )
        self.mean.copy_(mean)
        self.std.copy_(std)

    def known_stage(self, stage: str) -> str:
        """``stage``, if this evaluator has it.

        Raises:
            ConfigError: naming those it has.
        """
        if stage not in self.stages:
            raise ConfigError(f"stage={stage}: the evaluator '{self.name}' has the stages {', '.join(self.stages)}")
        return stage

    @abstractmethod
    def prepare(self, mean: Any, std: Any, captions: Iterable[Caption] = ()) -> None:
        """Take what training from scratch needs from a data set: statistics ``(features,)``, words of the captions."""

    @abstractmethod
    def stage_window(self, stage: str) -> int | None:
        """Frames of the random windows that ``stage`` trains on; None = whole clips."""

    @abstractmethod
    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """What training ``stage`` updates."""

    @abstractmethod
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the stage's objective, scalars; ``"loss"`` is minimised."""
