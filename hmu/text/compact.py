"""A small word-level text encoder, trained together with a backbone and stored with it.

A word's vector is the sum of its own learned vector (zero for a word outside the vocabulary) and the mean of the
vectors of its character n-grams (hashed into buckets, as in Bojanowski et al. 2017, "Enriching word vectors with
subword information"). So an inflection that training never showed ("kicked") starts near the ones it did ("kick").
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hmu.checkpoints.kinds import Kind, check_values, real, whole
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BEGIN, _END, _SPECIAL = 0, 1, 2  # rows of the word table; the vocabulary follows
_PAD = 0  # row of the n-gram table that stays zero


def split_words(text: str) -> list[str]:
    """Lower-case words of a caption; punctuation is dropped, digits and apostrophes inside a word stay."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def build_vocabulary(texts: Iterable[str], min_count: int = 2) -> list[str]:
    """Words that occur at least ``min_count`` times, most frequent first (ties alphabetical, so it is reproducible)."""
    counts = Counter(word for text in texts for word in split_words(text))
    return sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))


@lru_cache(maxsize=100_000)
def ngram_buckets(word: str, buckets: int) -> tuple[int, ...]:
    """Rows (1..buckets) of the n-grams of length 3 to 5 of ``<word>``, and of the whole. Stable across processes."""
    marked = f"<{word}>"
    grams = {marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)} | {marked}
    return tuple(sorted(1 + zlib.crc32(gram.encode("utf-8")) % buckets for gram in grams))


class _Block(nn.Module):
    """Pre-norm transformer layer over ``(batch, tokens, width)`` with a key mask ``(batch, tokens)``."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(batch, tokens, width)))
        x = x + self.drop(self.down(functional.gelu(self.up(self.norm2(x)))))
        return x


_SHARE = real(0, 1)
_KINDS: dict[str, Kind] = {
    "width": whole(1, 8192), "layers": whole(0, 99), "heads": whole(1, 256), "buckets": whole(1, 10_000_000),
    "max_tokens": whole(2, 10_000), "dropout": _SHARE, "word_dropout": _SHARE, "token_dropout": _SHARE,
}  # fmt: skip


class CompactTextEncoder(TextEncoder):
    """Word and n-gram vectors, learned positions, a few transformer layers.

    A prompt becomes ``begin, words..., end``; the empty prompt has two tokens. ``encode`` is differentiable and the
    encoder is trained by whoever owns it (train mode adds dropout); in eval mode it is deterministic.

    Args:
        vocabulary: known words (:func:`build_vocabulary`); may be set later with :meth:`set_vocabulary`.
        width: size of a token embedding; a multiple of ``heads``.
        layers, heads: of the transformer.
        buckets: rows of the hashed n-gram table; fewer rows, more accidental neighbours.
        max_tokens: longest prompt with both markers; further words are cut off.
        dropout: inside the transformer, train mode only.
        word_dropout: chance, in train mode, that a word shows only its n-grams, as an unknown word does.
        token_dropout: chance, in train mode, that a word shows nothing at all (other words must carry the meaning).
    """

    def __init__(
        self,
        vocabulary: Sequence[str] = (),
        *,
        width: int,
        layers: int,
        heads: int,
        buckets: int,
        max_tokens: int,
        dropout: float,
        word_dropout: float,
        token_dropout: float,
    ) -> None:
        super().__init__()
        check_values({name: value for name, value in locals().items() if name in _KINDS}, "text.", _KINDS)
        if width % heads:
            raise ConfigError(f"text.width={width} is not a multiple of text.heads={heads}; change one of them")
        self.width, self.layers, self.heads, self.buckets = width, layers, heads, buckets
        self.max_tokens, self.dropout = max_tokens, dropout
        self.word_dropout, self.token_dropout = word_dropout, token_dropout
        self.words = nn.Embedding(_SPECIAL, width)
        self.ngrams = nn.EmbeddingBag(buckets + 1, width, mode="mean", padding_idx=_PAD)
        self.positions = nn.Parameter(torch.randn(max_tokens, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.vocabulary: list[str] = []
        self._rows: dict[str, int] = {}
        nn.init.normal_(self.ngrams.weight, std=0.3)
        with torch.no_grad():
            self.ngrams.weight[_PAD] = 0.0
        self.set_vocabulary(vocabulary)

    # -- construction --
    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Replace the vocabulary; the word vectors start anew (call it before training, not after)."""
        plain = isinstance(vocabulary, Sequence) and not isinstance(vocabulary, str)
        if not plain or not all(isinstance(word, str) for word in vocabulary):
            raise ConfigError("text.vocabulary: expected a list of words")
        if len(set(vocabulary)) != len(vocabulary):
            raise ConfigError("text.vocabulary holds a word twice; build it with build_vocabulary")
        self.vocabulary = [str(word) for word in vocabulary]
        self._rows = {word: _SPECIAL + i for i, word in enumerate(self.vocabulary)}
        self.words = nn.Embedding(_SPECIAL + len(self.vocabulary), self.width).to(self.positions.device)
        nn.init.normal_(self.words.weight, std=0.3)

    def to_config(self) -> dict[str, Any]:
        """Constructor arguments as plain values (JSON, YAML); with the state dict it restores the encoder."""
        return {"vocabulary": list(self.vocabulary), **{name: getattr(self, name) for name in _KINDS}}

    @property
    def fingerprint(self) -> str:
        """Hash of the vocabulary, sizes and weights: changes with every training step."""
        digest = hashlib.sha256(repr(sorted(self.to_config().items())).encode("utf-8"))
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode("utf-8") + value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return f"compact-{digest.hexdigest()[:32]}"

    # -- encoding --
    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Prompts -> tokens ``(batch, tokens, width)``, zero beyond each prompt; ``pooled`` is their masked mean."""
        prompts = [split_words(text)[: self.max_tokens - 2] for text in texts]
        if not prompts:
            raise ValueError("encode needs at least one prompt")
        device = self.positions.device
        longest = 2 + max(len(prompt) for prompt in prompts)
        lengths = torch.tensor([2 + len(prompt) for prompt in prompts], device=device)
        mask = torch.arange(longest, device=device)[None, :] < lengths[:, None]
        vectors, known = self._word_vectors(sorted({word for prompt in prompts for word in prompt}))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt) + 2] = torch.tensor([_BEGIN, *(known[word] for word in prompt), _END])
        x = (self._gather(ids.to(device), vectors) + self.positions[:longest]) * mask[..., None]
        for block in self.blocks:
            x = block(x, mask)
        tokens = self.norm(x) * mask[..., None]
        return TextCondition(tokens, mask, tokens.sum(1) / lengths[:, None])

    def _word_vectors(self, words: list[str]) -> tuple[tuple[Tensor, Tensor], dict[str, int]]:
        """Word parts and n-gram parts ``(2 + words, width)`` of the distinct words; rows 0 and 1 are the markers."""
        device = self.positions.device
        rows = [_BEGIN, _END, *(self._rows.get(word, -1) for word in words)]
        row_ids = torch.tensor(rows, device=device)
        own = self.words(row_ids.clamp_min(0)) * (row_ids >= 0)[:, None]
        bags = [ngram_buckets(word, self.buckets) for word in words]
        width = max((len(bag) for bag in bags), default=1)
        padded = [[_PAD] * width, [_PAD] * width, *([*bag, *([_PAD] * (width - len(bag)))] for bag in bags)]
        parts = self.ngrams(torch.tensor(padded, device=device))
        return (own, parts), {word: i + _SPECIAL for i, word in enumerate(words)}

    def _gather(self, ids: Tensor, vectors: tuple[Tensor, Tensor]) -> Tensor:
        own, parts = (part[ids] for part in vectors)
        if self.training and (self.word_dropout or self.token_dropout):
            is_word = ids >= _SPECIAL
            hide_own = is_word & (torch.rand(ids.shape, device=ids.device) < self.word_dropout)
            hide_all = is_word & (torch.rand(ids.shape, device=ids.device) < self.token_dropout)
            own = own.masked_fill((hide_own | hide_all)[..., None], 0.0)
            parts = parts.masked_fill(hide_all[..., None], 0.0)
        return own + parts
