"""What an evaluator is: networks that embed motions and captions in one space."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hmu.data.captions import Caption
from hmu.data.concepts import Concept


class Evaluator(nn.Module):
    """Embeds motions and captions. Results come in the caller's order, for any batch size and order.

    Attributes:
        width: size of the joint embedding.
    """

    name: str = "evaluator"
    width: int

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Motions in real units ``(batch, frames, features)``, lengths in frames ``(batch,)`` -> ``(batch, width)``.

        Normalises with the evaluator's own statistics and zeroes what lies beyond each length.
        """
        raise NotImplementedError

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """Captions -> ``(batch, width)``. A caption without tokens is tagged by rule first."""
        raise NotImplementedError

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """Captions without the concept's words (MM-Safe) -> ``(batch, width)``, and which changed, bool ``(batch,)``.

        ``definition``: ``clean`` masks whole words, ``hmu`` follows the published substring rule.
        """
        raise NotImplementedError

    def embed_sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``(batch, any)`` whose cosines say which captions mean the same; not this evaluator's space.

        By default content words (:class:`hmu.text.words_bag.BagOfWords`), which know inflections and no synonyms.
        """
        from hmu.text.words_bag import BagOfWords  # only retrieval by meaning asks

        pooled = BagOfWords().encode(texts).pooled
        assert pooled is not None
        return pooled

    @property
    def fingerprint(self) -> str:
        """Identity of weights and statistics, for caches and ``metrics.json``."""
        raise NotImplementedError
