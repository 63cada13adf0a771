"""What an evaluator is: networks that embed motions and captions in one space."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from hmu.backbones.statistics import OwnStatistics
from hmu.backbones.trainable import Trainable
from hmu.contract import Contract
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import DataError
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


class TrainedEvaluator(OwnStatistics, Trainable, Evaluator):
    """An evaluator that is trained in stages, stored in a model folder, and has statistics of its own."""

    group = "evaluator"

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features, self.width = features, width
        self.start_statistics(features)

    def check_motion(self, motion: Tensor, lengths: Tensor, least: int, most: int) -> None:
        """Refuse motions that are not ``(batch, frames, features)`` with lengths ``(batch,)`` of least to most frames.

        Raises:
            DataError: naming what was given and what is read.
        """
        if motion.dim() != 3 or motion.shape[-1] != self.features:
            raise DataError(f"the evaluator reads (batch, frames, {self.features}) motions, got {tuple(motion.shape)}")
        shortest, longest, limit = int(lengths.min()), int(lengths.max()), min(motion.shape[1], most)
        if shortest < least or longest > limit:
            span = f"{shortest} and {longest} frames"
            raise DataError(f"motion lengths lie between {span}, the evaluator reads {least} to {limit}")

    def digest(self, heading: str, parts: Sequence[str]) -> str:
        """``<name>-<16 digits>``: SHA-256 of a heading and of the weights whose names begin with one of ``parts``."""
        digest = hashlib.sha256(heading.encode())
        for name, tensor in sorted({**self.state_dict(), "mean": self.mean, "std": self.std}.items()):
            if name.startswith(tuple(parts)):
                digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:16]}"
