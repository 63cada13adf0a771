"""One vector per prompt: what MoMask and BAMM read of a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hmu.backbones.prompts import PromptCache
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder


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
        found = "no pooled vector" if pooled is None else f"vectors of width {pooled.shape[-1]}"
        raise ConfigError(f"the text encoder gives {found}, the model reads width {width}: use text.output=pooled")
    return pooled


def encode_prompts(
    texts: Sequence[str], encoder: TextEncoder | None, cache: PromptCache, width: int, device: torch.device
) -> TextCondition:
    """Vectors of prompts; the empty prompt is the zero vector, which the models learn as "no text".

    An encoder that trains is asked anew each time, a frozen one once per text.

    Raises:
        ConfigError: for words without an encoder.
    """
    empty = torch.tensor([not text.strip() for text in texts], device=device)
    if bool(empty.all()):
        return condition_of(torch.zeros(len(texts), width, device=device))
    if encoder is None:
        raise ConfigError("this model has no text encoder: give backbone.text (for example text=clip)")
    filler = next(text for text in texts if text.strip())  # any prompt that is encoded anyway
    words = [text if text.strip() else filler for text in texts]
    trains = any(parameter.requires_grad for parameter in encoder.parameters())
    encoded = encoder.encode(words) if trains else cache.encode(encoder, words, device)
    vectors = vector_of(encoded, width).to(device)
    return condition_of(torch.where(empty[:, None], torch.zeros_like(vectors), vectors))
