"""Encoding prompts once per process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hmu.backbones.salad.sampling import evaluating
from hmu.data.batch import length_mask
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.stored import storable


def fit_vocabulary(text: TextEncoder | None, captions: Iterable[object]) -> None:
    """Give an encoder without a vocabulary that of ``captions`` (sentences, or objects with a ``text``)."""
    if text is not None and storable(text) and not text.vocabulary:
        from hmu.text.compact import build_vocabulary

        text.set_vocabulary(build_vocabulary(str(getattr(c, "text", c)) for c in captions))  # type: ignore[operator]


class PromptCache:
    """Embeddings by text, of a frozen encoder: without padding, so that batches of any length can be made."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Tensor, Tensor | None]] = {}

    def clear(self) -> None:
        """Forget everything (the encoder's weights change)."""
        self._rows.clear()

    def encode(self, encoder: TextEncoder, texts: Sequence[str], device: torch.device) -> TextCondition:
        """Encode ``texts`` in order, each distinct one at most once per process; padded to the longest."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if missing:
            with evaluating(encoder):
                fresh = encoder.encode(missing)
            counts = fresh.mask.sum(1).tolist()
            for row, (text, count) in enumerate(zip(missing, counts, strict=True)):
                pooled = None if fresh.pooled is None else fresh.pooled[row].clone()
                self._rows[text] = (fresh.tokens[row, :count].clone(), pooled)
        rows = [self._rows[text] for text in texts]
        tokens = nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True).to(device)
        pooled_rows = [row[1] for row in rows if row[1] is not None]
        pooled = torch.stack(pooled_rows).to(device) if len(pooled_rows) == len(rows) else None
        sizes = torch.tensor([len(row[0]) for row in rows], device=device)
        return TextCondition(tokens, length_mask(sizes, tokens.shape[1]), pooled)
