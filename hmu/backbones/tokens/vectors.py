"""One vector per prompt: what MoMask and BAMM read of a text."""

from __future__ import annotations

import torch
from torch import Tensor

from hmu.errors import ConfigError
from hmu.text.base import TextCondition


def condition_of(vectors: Tensor) -> TextCondition:
    """A condition of one token per prompt from vectors ``(batch, width)``."""
    mask = torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device)
    return TextCondition(vectors[:, None], mask, vectors)


def vector_of(condition: TextCondition, width: int) -> Tensor:
    """The prompts' vectors ``(batch, width)``.

    Raises:
        ConfigError: the condition has none, or of another width.
    """
    pooled = condition.pooled
    if pooled is None and condition.tokens.shape[1] == 1:
        pooled = condition.tokens[:, 0]
    if pooled is None or pooled.shape[-1] != width:
        given = "no pooled vector" if pooled is None else f"vectors of width {pooled.shape[-1]}"
        raise ConfigError(f"the text encoder gives {given}, the model reads width {width}: use text.output=pooled")
    return pooled
