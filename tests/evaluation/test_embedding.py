"""Evaluators as others write them."""

from __future__ import annotations

import torch

from hmu.evaluation.embedding import embed
from hmu.evaluators.base import Evaluator


class Projection(Evaluator):
    """The mean frame, seen through a matrix that is no parameter."""

    width, fingerprint = 4, "projection"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.eye(6, self.width))

    def embed_motion(self, motion, lengths):
        return motion.sum(1) / lengths[:, None] @ self.seen

    def embed_text(self, captions):
        return torch.zeros(len(captions), self.width)

    def embed_text_masked(self, captions, concept, definition="clean"):
        return self.embed_text(captions), torch.zeros(len(captions), dtype=torch.bool)


def test_an_evaluator_without_parameters_embeds():
    motion = torch.ones(3, 8, 6)
    assert torch.equal(embed(Projection(), motion, torch.full((3,), 8)), torch.ones(3, 4))
