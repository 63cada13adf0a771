"""What a text encoder is, and the condition it hands to a backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hmu.contract import Contract


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
        rows = index if isinstance(index, slice) else torch.as_tensor(index, device=self.tokens.device)
        return self._each(lambda values: values[rows])

    def expand(self, batch: int) -> TextCondition:
        """Repeat a single prompt ``batch`` times (a view, no copy)."""
        return self._each(lambda values: values.expand(batch, *values.shape[1:]))

    def to(self, device: torch.device | str) -> TextCondition:
        """The same condition on ``device``."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TextCondition:
        pooled = None if self.pooled is None else change(self.pooled)
        return TextCondition(change(self.tokens), change(self.mask), pooled)


def stack_prompts(tokens: Sequence[Tensor], pooled: Sequence[Tensor] | None) -> TextCondition:
    """A condition of single prompts: their tokens, each ``(tokens, width)``, and vectors ``(width,)`` if there are any.

    Gradients pass through.
    """
    stacked = pad_sequence(list(tokens), batch_first=True)
    lengths = torch.tensor([len(prompt) for prompt in tokens], device=stacked.device)
    mask = torch.arange(stacked.shape[1], device=stacked.device)[None, :] < lengths[:, None]
    return TextCondition(stacked, mask, torch.stack(list(pooled)) if pooled else None)


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


class TextEncoder(Contract, nn.Module):
    """Turns prompts into a :class:`TextCondition`. Frozen unless its owner trains it.

    Attributes:
        width: size of one token embedding.
    """

    noun = "text encoder"
    width: int

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identity of all that decides about embeddings (weights, tokeniser); keys the disk cache."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts in order; ``""`` is the unconditional prompt. Padded to the longest of ``texts`` only."""
