"""Embeddings of a frozen text encoder, computed once per text: kept in memory and on disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from hmu.checkpoints.store import Row, Store, content_key
from hmu.errors import DataError
from hmu.progress import batches
from hmu.text.base import TextCondition, TextEncoder, stack_prompts

log = logging.getLogger(__name__)
IN_MEMORY = 8192  # embeddings kept in memory beside the disk; where there is none, all are


class CachedTextEncoder(TextEncoder):
    """A text encoder that asks the wrapped one only for texts it has not seen.

    While any of the wrapped encoder's weights is trainable, every call goes straight to it (a cached embedding would
    be stale, and carries no gradient). When frozen weights change all the same, the cache notices and starts anew.
    A disk that takes no more is reported once, and the cache goes on in memory.

    Args:
        folder: where embeddings are kept between runs, by fingerprint of the encoder; None for memory only.
        batch: texts per call of the wrapped encoder.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | str | None = None, batch: int = 256) -> None:
        super().__init__()
        self.encoder, self.folder, self.batch = encoder, folder, batch
        self.width = encoder.width
        self._store = Store(None)
        self._memory: dict[str, Row] = {}
        self._weights: tuple[tuple[int, int], ...] | None = None

    @property
    def fingerprint(self) -> str:
        """The wrapped encoder's."""
        return self.encoder.fingerprint

    @property
    def frozen(self) -> bool:
        """Whether embeddings may be cached."""
        return not any(parameter.requires_grad for parameter in self.encoder.parameters())

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """As the wrapped encoder, each distinct text encoded once; on the device of the encoder's weights."""
        if not self.frozen:
            return self.encoder.encode(texts)
        self._notice_weights()
        distinct = list(dict.fromkeys(texts))
        if self.folder is not None:  # many at a time: a batch of similar lengths pads little
            distinct.sort(key=lambda text: (len(text), text))
        rows = {text: self._memory[text] for text in distinct if text in self._memory}
        keys = {text: content_key(text) for text in distinct if text not in rows}
        stored = self._store.load_rows(list(keys.values()))
        rows |= {text: stored[key] for text, key in keys.items() if key in stored}
        fresh = self._encode_new([text for text in distinct if text not in rows])
        rows |= fresh
        try:
            self._store.save_rows({keys[text]: row for text, row in fresh.items()})
        except DataError as error:
            log.warning("text embeddings are kept in memory only: %s", error)
            self._store = Store(None)
        if self._store.folder is None or len(self._memory) + len(rows) <= IN_MEMORY:
            self._memory |= rows
        asked = [rows[text] for text in texts]
        pooled = [row["pooled"] for row in asked if "pooled" in row]
        return stack_prompts([row["tokens"] for row in asked], pooled).to(self._device)

    def forget(self) -> None:
        """Encode anew what is in memory alone: last bits depend on which texts were encoded together."""
        self._memory = {}

    def _notice_weights(self) -> None:
        """Begin a cache for the encoder's present weights, unless it is the one in use."""
        weights = [*self.encoder.parameters(), *self.encoder.buffers()]
        state = tuple((id(tensor), tensor._version) for tensor in weights)
        if state != self._weights:
            folder = None if self.folder is None else Path(self.folder) / self.encoder.fingerprint
            self._store, self._memory, self._weights = Store(folder), {}, state

    @torch.no_grad()
    def _encode_new(self, texts: list[str]) -> dict[str, Row]:
        """Real tokens and pooled vectors of distinct texts, batch by batch."""
        modes = [(module, module.training) for module in self.encoder.modules()]
        self.encoder.eval()  # dropout must not be frozen into the cache
        fresh: dict[str, Row] = {}
        try:
            for part in batches(texts, self.batch, "encoding texts", "texts"):
                with torch.autocast(self._device.type, enabled=False):  # a rounded embedding must not be kept for ever
                    condition = self.encoder.encode(part).to("cpu")
                for number, text in enumerate(part):
                    pooled = {} if condition.pooled is None else {"pooled": condition.pooled[number].clone()}
                    fresh[text] = {"tokens": condition.tokens[number][condition.mask[number]].clone(), **pooled}
        finally:
            for module, training in modes:
                module.training = training
        return fresh

    @property
    def _device(self) -> torch.device:
        parameter = next(self.encoder.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device
