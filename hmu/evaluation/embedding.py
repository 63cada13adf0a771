"""Embeddings of prompts and motions, computed once per evaluator and content, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hmu.checkpoints.store import Store, content_key
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.devices import of_module
from hmu.evaluators.base import Evaluator
from hmu.progress import phase


def embed(evaluator: Evaluator, motion: Tensor, lengths: Tensor, batch_size: int = 256) -> Tensor:
    """Motion embeddings ``(n, width)`` on the CPU, in order, computed in chunks."""
    device = of_module(evaluator)
    parts = []
    with torch.inference_mode(), phase("embedding motions", len(motion), "motions") as done:
        for m, n in zip(motion.split(batch_size), lengths.split(batch_size), strict=True):
            parts.append(evaluator.embed_motion(m[:, : int(n.max())].to(device), n.to(device)).cpu())
            done.advance(len(n))
    return torch.cat(parts)


class EmbeddingStore:
    """Remembers what evaluators have answered, by their fingerprint and the content they were shown.

    ``folder``: where; safe to delete. None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._store = Store(folder)
        self._fingerprints: WeakKeyDictionary[Evaluator, str] = WeakKeyDictionary()

    def motion(self, evaluator: Evaluator, motion: Tensor, lengths: Tensor) -> Tensor:
        """:func:`embed` of motions in real units ``(n, frames, features)``: real clips, or generated ones."""
        if self._store.folder is None:
            return embed(evaluator, motion, lengths)
        digest = hashlib.blake2b(repr(tuple(motion.shape)).encode(), digest_size=16)
        digest.update(motion.contiguous().numpy().data)
        shown: list[object] = ["motion", digest.hexdigest(), lengths.tolist()]
        return self._remembered(evaluator, shown, lambda: embed(evaluator, motion, lengths))

    def text(self, evaluator: Evaluator, captions: Sequence[Caption]) -> Tensor:
        """``embed_text`` of captions, ``(n, width)`` on the CPU."""
        return self._remembered(evaluator, ["text", _said(captions)], lambda: evaluator.embed_text(captions))

    def sentences(self, evaluator: Evaluator, texts: Sequence[str]) -> Tensor:
        """``embed_sentences`` of texts, ``(n, width)`` on the CPU, of an evaluator that has sentence vectors."""
        make: Callable[[Sequence[str]], Tensor] = getattr(evaluator, "embed_sentences")  # noqa: B009
        return self._remembered(evaluator, ["sentence", list(texts)], lambda: make(texts))

    def masked(
        self, evaluator: Evaluator, captions: Sequence[Caption], concept: Concept, definition: str
    ) -> tuple[Tensor, Tensor]:
        """``embed_text_masked``: embeddings ``(n, width)`` and which captions changed ``(n,)`` bool, on the CPU."""
        rule = [concept.name, list(concept.keywords), list(concept.exceptions), concept.match, definition]

        def both() -> Tensor:  # one array: the last column says which changed
            rows, changed = evaluator.embed_text_masked(captions, concept, definition)
            return torch.cat([rows.cpu(), changed.cpu().to(rows.dtype)[:, None]], 1)

        rows = self._remembered(evaluator, ["masked", _said(captions), rule], both)
        return rows[:, :-1].contiguous(), rows[:, -1] > 0

    def _remembered(self, evaluator: Evaluator, shown: Sequence[object], make: Callable[[], Tensor]) -> Tensor:
        with torch.inference_mode():
            if self._store.folder is None:
                return make().cpu()
            fingerprint = self._fingerprints.get(evaluator) or evaluator.fingerprint
            self._fingerprints[evaluator] = fingerprint
            return self._store.get(content_key(fingerprint, torch.__version__, list(shown)), lambda: make().cpu())


def _said(captions: Sequence[Caption]) -> list[list[object]]:
    return [[caption.text, list(caption.tokens)] for caption in captions]
