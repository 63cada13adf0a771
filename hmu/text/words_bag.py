"""Sentence vectors without any training: which content words a caption holds, up to inflection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hmu.english import stem
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.compact import ngram_buckets, split_words

# Words that nearly every caption of a person's motion holds: sharing them says nothing about the action.
_COMMON = """
a an the and or then while as with by to of in on at from for into onto is are was be being it its his her their he she
they him them who that this these some something someone somebody person people man woman human figure guy subject actor
individual character
"""
FUNCTION_WORDS = frozenset(_COMMON.split())


class BagOfWords(TextEncoder):
    """Each content word is the n-grams of its stem, hashed into buckets; a sentence is their sum, of unit length.

    The cosine of two captions is 1 for equal content words in any order and inflection, and near 0 for captions that
    share nothing. It judges which captions mean the same where no sentence model is given; it knows no synonyms.

    Args:
        buckets: width of the vectors; fewer buckets, more accidental likeness.
    """

    def __init__(self, buckets: int = 2048) -> None:
        super().__init__()
        self.width = buckets
        self.register_buffer("device_of", torch.zeros(0), persistent=False)

    @property
    def fingerprint(self) -> str:
        """The rule and its width: there are no weights."""
        return f"words-bag-{self.width}"

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Texts -> one token each, ``(batch, 1, width)``; ``pooled`` is the same vector, of unit length.

        A text of function words only is described by those.
        """
        device = self.get_buffer("device_of").device
        pooled = torch.stack([self._vector(text) for text in texts]).to(device)
        return TextCondition(pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool, device=device), pooled)

    def _vector(self, text: str) -> Tensor:
        words = split_words(text)
        content = {stem(word) for word in words if word not in FUNCTION_WORDS}
        vector = torch.zeros(self.width)
        for word in sorted(content or set(words) or {""}):
            grams = torch.tensor(ngram_buckets(word, self.width)) - 1
            vector[grams] += float(len(grams)) ** -0.5
        return vector / vector.norm()
