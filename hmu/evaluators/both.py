"""Two evaluators on the same motions: the first answers for both, the second adds rows of its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.evaluators.base import Evaluator


class EvaluatorPair(Evaluator):
    """``evaluator=both``: embeds as ``first``; whoever knows :attr:`others` measures with those too.

    Args:
        first: whose rows have the plain names (``fid``).
        second: whose rows carry its name (``fid@tmr``).
    """

    def __init__(self, first: Evaluator, second: Evaluator) -> None:
        super().__init__()
        if first.name == second.name:
            raise ConfigError(
                f"evaluator=both: first and second are both '{first.name}'; choose evaluator@evaluator.second=…"
            )
        self.first, self.second = first, second
        self.name, self.width = f"{first.name}+{second.name}", first.width

    @property
    def others(self) -> dict[str, Evaluator]:
        """The evaluators besides the first, by name."""
        return {self.second.name: self.second}

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """As the first evaluator."""
        return self.first.embed_motion(motion, lengths)

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """As the first evaluator."""
        return self.first.embed_text(captions)

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """As the first evaluator."""
        return self.first.embed_text_masked(captions, concept, definition)

    def embed_sentences(self, texts: Sequence[str]) -> Tensor:
        """As the first evaluator."""
        return self.first.embed_sentences(texts)

    @property
    def fingerprint(self) -> str:
        """Both fingerprints."""
        return f"{self.first.fingerprint}+{self.second.fingerprint}"
