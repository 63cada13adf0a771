"""What a text encoder is, and the condition it hands to a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TextCondition:
    """Encoded prompts. Built by an encoder, or from raw embeddings so that gradients and attacks can pass.

    Attributes:
        tokens: token embeddings ``(batch, tokens, width)``.
        mask: True at real tokens (begin and end markers count) ``(batch, tokens)``.
        pooled: one vector per prompt ``(batch, width)``, or None where an encoder has none.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return int(self.tokens.shape[0])

    def select(self, index: Tensor | Sequence[int] | slice) -> TextCondition:
        """The rows ``index`` ``(rows,)`` as a new condition."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.tokens.device)
        pooled = None if self.pooled is None else self.pooled[index]
        return TextCondition(self.tokens[index], self.mask[index], pooled)

    def expand(self, batch: int) -> TextCondition:
        """Repeat a single prompt ``batch`` times (a view, no copy)."""
        pooled = None if self.pooled is None else self.pooled.expand(batch, -1)
        return TextCondition(self.tokens.expand(batch, -1, -1), self.mask.expand(batch, -1), pooled)

    def to(self, device: torch.device | str) -> TextCondition:
        """The same condition on ``device``."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return TextCondition(self.tokens.to(device), self.mask.to(device), pooled)


def concat_conditions(conditions: Sequence[TextCondition]) -> TextCondition:
    """Stack conditions along the batch, padding to the longest prompt with masked zeros."""
    longest = max(c.tokens.shape[1] for c in conditions)

    def pad(x: Tensor) -> Tensor:
        missing = longest - x.shape[1]
        return nn.functional.pad(x, (0, 0, 0, missing) if x.dim() == 3 else (0, missing))

    pooled = None
    if conditions[0].pooled is not None:
        pooled = torch.cat([c.pooled for c in conditions if c.pooled is not None])
    tokens, mask = (torch.cat([pad(getattr(c, name)) for c in conditions]) for name in ("tokens", "mask"))
    return TextCondition(tokens, mask, pooled)


class TextEncoder(nn.Module):
    """Turns prompts into a :class:`TextCondition`. Frozen unless its owner trains it.

    Attributes:
        width: size of one token embedding.
        fingerprint: a string that changes whenever the embeddings would (name + weights hash); keys the disk cache.
    """

    width: int

    @property
    def fingerprint(self) -> str:
        """Identity of weights and tokeniser, for the embedding cache."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts in order; ``""`` is the unconditional prompt. Padded to the longest of ``texts`` only."""
        raise NotImplementedError
