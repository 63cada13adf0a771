"""Conditions from raw embeddings: stored features, optimised prompts, parity vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hmu.errors import DataError
from hmu.text.base import TextCondition, TextEncoder, concat_conditions


def condition_from_embeddings(
    tokens: Tensor, mask: Tensor | None = None, pooled: Tensor | None = None
) -> TextCondition:
    """Wrap raw token embeddings ``(batch, tokens, width)``; gradients pass through, nothing is copied.

    ``mask`` ``(batch, tokens)`` is True at real tokens and defaults to all real. A single prompt may be given as
    ``(tokens, width)``. Raises ``ValueError`` on shapes that do not belong together.
    """
    if tokens.dim() == 2:
        tokens = tokens[None]
        mask = None if mask is None else mask.reshape(1, -1)
        pooled = None if pooled is None else pooled.reshape(1, -1)
    if mask is None:
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    if tokens.dim() != 3 or mask.shape != tokens.shape[:2] or (pooled is not None and len(pooled) != len(tokens)):
        raise ValueError(f"tokens {tuple(tokens.shape)} and mask {tuple(mask.shape)} do not belong together")
    return TextCondition(tokens, mask.bool(), pooled)


class PrecomputedTextEncoder(TextEncoder):
    """Looks prompts up among stored embeddings; a prompt that is not stored is an error, never a guess.

    Args:
        embeddings: prompt -> token embeddings ``(tokens, width)``; ``""`` is the unconditional prompt.
        pooled: prompt -> one vector ``(width,)``; all prompts or none.
    """

    def __init__(self, embeddings: Mapping[str, Tensor], pooled: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        if not embeddings:
            raise ValueError("no embeddings given")
        self.embeddings = dict(embeddings)
        self.pooled = None if pooled is None else dict(pooled)
        self.width = int(next(iter(self.embeddings.values())).shape[-1])

    @property
    def fingerprint(self) -> str:
        """Hash of the prompts and their embeddings."""
        digest = hashlib.sha256()
        for text, value in sorted(self.embeddings.items()):
            digest.update(text.encode("utf-8") + value.detach().cpu().flatten().contiguous().numpy().tobytes())
        return f"precomputed-{digest.hexdigest()[:32]}"

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Stored embeddings of ``texts``, padded to the longest of them."""
        unknown = [text for text in texts if text not in self.embeddings]
        if unknown:
            raise DataError(f"no stored embedding for the prompt {unknown[0]!r} ({len(self.embeddings)} are stored)")
        return concat_conditions(
            [
                condition_from_embeddings(self.embeddings[t], None, None if self.pooled is None else self.pooled[t])
                for t in texts
            ]
        )
