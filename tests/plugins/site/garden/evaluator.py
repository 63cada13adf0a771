"""An evaluator without weights of its own: means of columns, and letters of captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluators.base import Evaluator


class Means(Evaluator):
    """The first ``width`` columns, averaged over time; a caption is how often it has each of ``width`` letters."""

    name = "means"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(width), requires_grad=False)

    @property
    def fingerprint(self) -> str:
        """It has no weights to be told apart by."""
        return f"means-{self.width}"

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """``(batch, frames, features)`` -> ``(batch, width)``."""
        valid = torch.arange(motion.shape[1], device=motion.device) < lengths[:, None]
        return self.scale * (motion[..., : self.width] * valid[..., None]).sum(1) / lengths[:, None]

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """Captions -> ``(batch, width)``."""
        letters = "etaoinshrdlcumwfgypbvkjxqz"[: self.width]
        return torch.tensor([[float(caption.text.count(letter)) for letter in letters] for caption in captions])

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """Captions without the concept's words, and which changed."""
        changed = torch.tensor([bool(concept.find(caption.text)) for caption in captions])
        return self.embed_text([Caption(concept.mask(caption.text)) for caption in captions]), changed
