"""Prompts whose embeddings somebody has computed beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from torch import Tensor

from hmu.errors import DataError
from hmu.text.base import TextCondition, TextEncoder, stack_prompts


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
        pooled = None if self.pooled is None else [self.pooled[text] for text in texts]
        return stack_prompts([self.embeddings[text] for text in texts], pooled)
