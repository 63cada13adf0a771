"""Embeddings of a frozen text encoder, computed once per text: kept in memory and on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from hmu.checkpoints.safe import save_safetensors
from hmu.errors import CheckpointError
from hmu.text.base import TextCondition, TextEncoder

log = logging.getLogger(__name__)

_KEY_BYTES = 16


@dataclass(frozen=True)
class Embedding:
    """One prompt: real tokens only ``(tokens, width)``, and the pooled vector ``(width,)`` or None. On the CPU."""

    tokens: Tensor
    pooled: Tensor | None


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES]


class EmbeddingCache:
    """Text -> :class:`Embedding`, for one encoder (``fingerprint``).

    On disk a cache is a folder ``<folder>/<fingerprint>`` of safetensors shards, each the concatenated tokens of many
    texts. A shard is written atomically under a fresh name, so that several processes may share the folder. A shard
    that cannot be read is reported and left out (its texts are encoded again).

    Args:
        fingerprint: identity of the encoder.
        folder: where shards lie; None keeps everything in memory.
        in_memory: at most so many texts are held in memory; older ones are read from disk again.
    """

    def __init__(self, fingerprint: str, folder: Path | str | None = None, in_memory: int = 50_000) -> None:
        self.folder = None if folder is None else Path(folder) / fingerprint
        self.in_memory = in_memory
        self._recent: OrderedDict[bytes, Embedding] = OrderedDict()
        self._places: dict[bytes, tuple[Path, int, int, int]] = {}
        if self.folder is not None and self.folder.is_dir():
            for path in sorted(self.folder.glob("*.safetensors")):
                self._index(path)

    def __len__(self) -> int:
        return len(self._recent.keys() | self._places.keys())

    def __contains__(self, text: str) -> bool:
        key = text_key(text)
        return key in self._recent or key in self._places

    def _index(self, path: Path) -> None:
        try:
            with safetensors.safe_open(path, framework="pt") as shard:
                keys, ends = shard.get_tensor("keys"), shard.get_tensor("ends").tolist()
        except (safetensors.SafetensorError, OSError) as error:
            log.warning("%s: damaged cache file, its texts are encoded again (%s)", path, error)
            return
        raw = keys.numpy().tobytes()
        for row, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            self._places[raw[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = (path, row, start, end)

    def get(self, texts: Iterable[str]) -> dict[str, Embedding]:
        """Those of ``texts`` that are cached."""
        found: dict[str, Embedding] = {}
        on_disk: dict[Path, list[tuple[str, bytes]]] = {}
        for text in dict.fromkeys(texts):
            key = text_key(text)
            if key in self._recent:
                self._recent.move_to_end(key)
                found[text] = self._recent[key]
            elif key in self._places:
                on_disk.setdefault(self._places[key][0], []).append((text, key))
        for path, wanted in on_disk.items():
            found.update(self._read(path, wanted))
        return found

    def _read(self, path: Path, wanted: list[tuple[str, bytes]]) -> dict[str, Embedding]:
        found: dict[str, Embedding] = {}
        try:
            with safetensors.safe_open(path, framework="pt") as shard:
                tokens = shard.get_slice("tokens")
                pooled = shard.get_slice("pooled") if "pooled" in shard.keys() else None  # noqa: SIM118 (no mapping)
                for text, key in wanted:
                    _, row, start, end = self._places[key]
                    vector = None if pooled is None else pooled[row]
                    found[text] = self._remember(key, Embedding(tokens[start:end], vector))
        except (safetensors.SafetensorError, OSError) as error:
            log.warning("%s: cache file vanished or damaged, its texts are encoded again (%s)", path, error)
            for _, key in wanted:
                self._places.pop(key, None)
        return found

    def _remember(self, key: bytes, embedding: Embedding) -> Embedding:
        self._recent[key] = embedding
        # Without a folder there is nowhere to read a dropped entry from again.
        while self.folder is not None and len(self._recent) > self.in_memory:
            self._recent.popitem(last=False)
        return embedding

    def put(self, embeddings: Mapping[str, Embedding]) -> None:
        """Add embeddings, in one new shard. A full disk is reported once and the memory cache goes on."""
        if not embeddings:
            return
        items = {text_key(text): value for text, value in embeddings.items()}
        if self.folder is not None:
            try:
                self._write_shard(self.folder, items)
            except CheckpointError as error:
                log.warning("text embeddings are kept in memory only: %s", error)
                self.folder = None
        for key, value in items.items():
            self._remember(key, value)

    def _write_shard(self, folder: Path, items: dict[bytes, Embedding]) -> None:
        values = list(items.values())
        keys = torch.frombuffer(bytearray(b"".join(items)), dtype=torch.uint8).reshape(-1, _KEY_BYTES)
        ends = torch.tensor([len(value.tokens) for value in values]).cumsum(0)
        tensors = {"keys": keys, "ends": ends, "tokens": torch.cat([value.tokens for value in values])}
        if values[0].pooled is not None:
            tensors["pooled"] = torch.stack([value.pooled for value in values if value.pooled is not None])
        path = folder / f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.safetensors"
        save_safetensors(path, tensors)
        self._index(path)


class CachedTextEncoder(TextEncoder):
    """A text encoder that asks the wrapped one only for texts it has not seen.

    While any of the wrapped encoder's weights is trainable, every call goes straight to it (a cached embedding would
    be stale, and carries no gradient). When frozen weights change all the same, the cache notices and starts anew.

    Args:
        encoder: the encoder to wrap; its parameters are this module's.
        folder: where embeddings are kept between runs; None for memory only.
        batch: texts per call of the wrapped encoder.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | str | None = None, batch: int = 256) -> None:
        super().__init__()
        self.encoder, self.folder, self.batch = encoder, folder, batch
        self.width = encoder.width
        self._cache: EmbeddingCache | None = None
        self._weights: tuple[tuple[int, int], ...] = ()

    @property
    def fingerprint(self) -> str:
        """The wrapped encoder's."""
        return self.encoder.fingerprint

    @property
    def cache(self) -> EmbeddingCache:
        """The cache that belongs to the encoder's present weights."""
        weights = [*self.encoder.parameters(), *self.encoder.buffers()]
        state = tuple((id(tensor), tensor._version) for tensor in weights)
        if self._cache is None or state != self._weights:
            self._cache, self._weights = EmbeddingCache(self.encoder.fingerprint, self.folder), state
        return self._cache

    @property
    def frozen(self) -> bool:
        """Whether embeddings may be cached."""
        return not any(parameter.requires_grad for parameter in self.encoder.parameters())

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """As the wrapped encoder, each distinct text encoded once; on the device of the encoder's weights."""
        if not self.frozen:
            return self.encoder.encode(texts)
        cache = self.cache
        found = cache.get(texts)
        missing = sorted({text for text in texts if text not in found}, key=lambda text: (len(text), text))
        fresh = self._encode_new(missing)
        cache.put(fresh)
        return self._collate([{**found, **fresh}[text] for text in texts] if fresh else [found[t] for t in texts])

    @torch.no_grad()
    def _encode_new(self, texts: list[str]) -> dict[str, Embedding]:
        """Embeddings of distinct texts, sorted by length so that a batch pads little."""
        modes = [(module, module.training) for module in self.encoder.modules()]
        self.encoder.eval()  # dropout must not be frozen into the cache
        fresh: dict[str, Embedding] = {}
        try:
            for start in range(0, len(texts), self.batch):
                part = texts[start : start + self.batch]
                condition = self.encoder.encode(part).to("cpu")
                for row, text in enumerate(part):
                    pooled = None if condition.pooled is None else condition.pooled[row].clone()
                    fresh[text] = Embedding(condition.tokens[row][condition.mask[row]].clone(), pooled)
        finally:
            for module, training in modes:
                module.training = training
        return fresh

    def _collate(self, embeddings: list[Embedding]) -> TextCondition:
        parameter = next(self.encoder.parameters(), None)
        device = torch.device("cpu") if parameter is None else parameter.device
        tokens = torch.nn.utils.rnn.pad_sequence([e.tokens for e in embeddings], batch_first=True)
        lengths = torch.tensor([len(e.tokens) for e in embeddings])
        mask = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        pooled = [e.pooled for e in embeddings if e.pooled is not None]
        return TextCondition(tokens, mask, torch.stack(pooled) if pooled else None).to(device)
