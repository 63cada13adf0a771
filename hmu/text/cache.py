"""Embeddings of a frozen text encoder, computed once per text: kept in memory and on disk."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from hmu.checkpoints.leftovers import remove_leftovers
from hmu.checkpoints.sealed import Damaged, set_aside
from hmu.errors import CheckpointError
from hmu.progress import batches
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.shards import Embedding, Place, fresh_name, join_small, read_index, read_rows, text_key, write_shard

__all__ = ["CachedTextEncoder", "Embedding", "EmbeddingCache"]

log = logging.getLogger(__name__)


class EmbeddingCache:
    """Text -> :class:`Embedding`, for one encoder (``fingerprint``).

    On disk it is a folder ``<folder>/<fingerprint>`` of safetensors shards, each the concatenated tokens of many texts,
    written under a fresh name, so that several processes may share the folder; many small ones are joined when it is
    opened. What is damaged is reported, and its texts are encoded again.

    Args:
        fingerprint: identity of the encoder.
        folder: where shards lie; None keeps everything in memory.
        in_memory: at most so many texts are held in memory; older ones are read from disk again.
    """

    def __init__(self, fingerprint: str, folder: Path | str | None = None, in_memory: int = 8192) -> None:
        self.folder = None if folder is None else Path(folder) / fingerprint
        self.in_memory = in_memory
        self._recent: OrderedDict[bytes, Embedding] = OrderedDict()
        self._places: dict[bytes, Place] = {}
        self._known: set[Path] = set()
        if self.folder is not None and self.folder.is_dir():
            remove_leftovers(self.folder)
            try:
                join_small(self.folder)
            except (CheckpointError, OSError) as error:
                log.debug("small shards stay as they are: %s", error)
            self._index_new(self.folder)

    def __len__(self) -> int:
        return len(self._recent.keys() | self._places.keys())

    def __contains__(self, text: str) -> bool:
        key = text_key(text)
        return key in self._recent or key in self._places

    def _index_new(self, folder: Path) -> None:
        for path in sorted(set(folder.glob("*.safetensors")) - self._known):
            self._index(path)

    def _index(self, path: Path) -> None:
        self._known.add(path)
        try:
            self._places.update(read_index(path))
        except Damaged as damage:
            self._drop(path, damage.reason)
        except FileNotFoundError as error:  # joined or deleted by another process meanwhile
            log.debug("%s: %s", path, error)

    def _drop(self, path: Path, reason: str) -> None:
        """Forget a whole shard: its texts are then encoded in the batches of the first time, to the last bit."""
        log.warning("%s: damaged (%s), removed; its texts are encoded again", path, reason)
        self._places = {key: place for key, place in self._places.items() if place.path != path}
        with suppress(OSError):
            set_aside(path)

    def get(self, texts: Iterable[str]) -> dict[str, Embedding]:
        """Those of ``texts`` that are cached."""
        found: dict[str, Embedding] = {}
        on_disk: dict[Path, dict[str, Place]] = {}
        for text in dict.fromkeys(texts):
            key = text_key(text)
            if key in self._recent:
                self._recent.move_to_end(key)
                found[text] = self._recent[key]
            elif key in self._places:
                place = self._places[key]
                on_disk.setdefault(place.path, {})[text] = place
        for path, wanted in on_disk.items():
            found.update(self._read(path, wanted))
        return found

    def _moved(self, path: Path, wanted: dict[str, Place]) -> dict[str, Embedding]:
        """Embeddings of a shard that is gone: another process may have joined it with others."""
        self._forget(wanted)
        if self.folder is not None:
            self._index_new(self.folder)
        if any(text in self for text in wanted):
            return self.get(wanted)
        log.warning("%s: cache file vanished, its texts are encoded again", path)
        return {}

    def _forget(self, places: dict[str, Place]) -> None:
        for text, place in places.items():
            if self._places.get(text_key(text)) == place:
                del self._places[text_key(text)]

    def _read(self, path: Path, wanted: dict[str, Place]) -> dict[str, Embedding]:
        try:
            found = read_rows(path, wanted)
        except Damaged as damage:
            self._drop(path, damage.reason)
            return {}
        except FileNotFoundError:
            return self._moved(path, wanted)
        for text, embedding in found.items():
            self._remember(text_key(text), embedding)
        return found

    def _remember(self, key: bytes, embedding: Embedding) -> None:
        self._recent[key] = embedding
        # Without a folder there is nowhere to read a dropped entry from again.
        while self.folder is not None and len(self._recent) > self.in_memory:
            self._recent.popitem(last=False)

    def put(self, embeddings: Mapping[str, Embedding]) -> None:
        """Add embeddings, in one new shard. A full disk is reported once and the memory cache goes on."""
        if not embeddings:
            return
        items = {text_key(text): value for text, value in embeddings.items()}
        if self.folder is not None:
            try:
                path = fresh_name(self.folder)
                write_shard(path, items)
                self._index(path)
            except CheckpointError as error:
                log.warning("text embeddings are kept in memory only: %s", error)
                self.folder = None
        for key, value in items.items():
            self._remember(key, value)


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
            for part in batches(texts, self.batch, "encoding texts", "texts"):
                with torch.autocast(self._device.type, enabled=False):  # a rounded embedding must not be kept for ever
                    condition = self.encoder.encode(part).to("cpu")
                for row, text in enumerate(part):
                    pooled = None if condition.pooled is None else condition.pooled[row].clone()
                    fresh[text] = Embedding(condition.tokens[row][condition.mask[row]].clone(), pooled)
        finally:
            for module, training in modes:
                module.training = training
        return fresh

    @property
    def _device(self) -> torch.device:
        parameter = next(self.encoder.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def _collate(self, embeddings: list[Embedding]) -> TextCondition:
        tokens = torch.nn.utils.rnn.pad_sequence([e.tokens for e in embeddings], batch_first=True)
        lengths = torch.tensor([len(e.tokens) for e in embeddings])
        mask = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        pooled = [e.pooled for e in embeddings if e.pooled is not None]
        return TextCondition(tokens, mask, torch.stack(pooled) if pooled else None).to(self._device)
