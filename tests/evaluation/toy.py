"""Prompts, an evaluator and a suite small enough to think through."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hmu.data.batch import length_mask
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Suite
from hmu.evaluators.base import Evaluator
from hmu.metrics.mm_dist import MMDist
from hmu.metrics.mm_safe import MMSafe
from hmu.motion.representation import skeleton_representation
from hmu.text.base import TextCondition
from tests.methods.fake import FakeBackbone

KICKS = Concept(name="kick", keywords=("kick",))
TEXTS = ("a person kicks", "a person waves", "a person kicks quickly", "a person walks", "a person kicks")


class Words(Evaluator):
    """Embeds a text by its letters and a motion by its mean; counts how often it is asked."""

    name, width = "words", 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.asked: list[str] = []

    @property
    def fingerprint(self) -> str:
        return f"words-{float(self.weight)}"

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        self.asked.append("motion")
        return self.weight * motion.sum(1) / lengths[:, None]

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        self.asked.append("text")
        return torch.tensor([[float(sum(map(ord, c.text)) % (7 + i)) for i in range(3)] for c in captions])

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        changed = torch.tensor([bool(concept.find(c.text)) for c in captions])
        return self.embed_text([Caption(concept.mask(c.text)) for c in captions]), changed


class Generating(FakeBackbone):
    """Noise moved by the prompt; counts calls, and stops like a killed process at a chosen one."""

    def __init__(self, stop_at: int = 10**6) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.texts: list[list[str]] = []
        self.stop_at = stop_at

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        self.texts.append(list(texts))
        return super().encode_text(texts)

    def sample(
        self,
        condition: TextCondition | Sequence[str],
        lengths: Tensor,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(len(lengths))
        assert isinstance(condition, TextCondition)
        noise = torch.randn(len(lengths), int(lengths.max()), self.features, generator=generator)
        moved = noise + condition.tokens.sum((1, 2))[:, None, None]
        return moved * length_mask(lengths, noise.shape[1])[..., None]


def prompts(name: str = "retain", lengths: Sequence[int] = (8, 16, 12, 20, 8)) -> PromptSet:
    return PromptSet(
        name,
        tuple(Caption(text) for text in TEXTS),
        torch.tensor(lengths),
        None,
        {},
        skeleton_representation(Generating.features),
    )


#: what a suite must be told, for tests in which it does not matter
PLAIN = {"repeats": 2, "batch_size": 64, "split": "test", "bootstrap": 200, "gallery": None, "pages": None}


def suite(repeats: int = 2, **more: object) -> Suite:
    metrics = {"mm_dist": MMDist(), "mm_safe": MMSafe()}
    return Suite(metrics, {"retain": 5}, **{**PLAIN, "repeats": repeats, "batch_size": 2, **more})  # type: ignore[arg-type]
