"""Files of text embeddings: the tokens of many texts in one safetensors file, every text with a sum of its own."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor

from hmu.checkpoints.safe import save_safetensors
from hmu.checkpoints.sealed import Damaged

_KEY_BYTES = 16
_MANY, _SMALL = 64, 1 << 24  # so many shards of less than so many bytes are joined when a folder is opened
_BROKEN = (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError)


@dataclass(frozen=True)
class Embedding:
    """One prompt: real tokens only ``(tokens, width)``, and the pooled vector ``(width,)`` or None. On the CPU."""

    tokens: Tensor
    pooled: Tensor | None


class Place(NamedTuple):
    """Where a text's embedding is on disk: tokens ``[start, end)`` and pooled vector ``row`` of a shard."""

    path: Path
    row: int
    start: int
    end: int


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES]


def checksum(embedding: Embedding) -> int:
    """CRC-32 of an embedding's bytes: the file format itself does not notice a flipped bit."""
    parts = [embedding.tokens] if embedding.pooled is None else [embedding.tokens, embedding.pooled]
    total = 0
    for part in parts:
        total = zlib.crc32(_raw(part), total)
    return total


def _raw(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _index_sum(path: Path, keys: Tensor, ends: Tensor, sums: Tensor, layout: list[object]) -> int:
    """CRC-32 of everything but the embeddings, bound to encoder and file, so that another's shard is noticed."""
    total = zlib.crc32(f"{path.parent.name}/{path.name}|{layout}".encode())
    for part in (keys, ends, sums):
        total = zlib.crc32(_raw(part), total)
    return total


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """An open shard.

    Raises:
        Damaged: whatever reading it raises.
        FileNotFoundError: joined or deleted by another process meanwhile.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as shard:
            yield shard
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise Damaged(path, str(error)) from error


def _checked_index(path: Path, shard: Any) -> tuple[Tensor, list[int], Tensor]:
    """Keys, ends and sums, which are what was written."""
    keys, ends, sums = (shard.get_tensor(name) for name in ("keys", "ends", "sums"))
    names = set(shard.keys())
    parts = [shard.get_slice(name) for name in ("tokens", "pooled") if name in names]
    layout: list[object] = [[str(part[:0].dtype), list(part.get_shape())] for part in parts]
    if "index" not in names:
        raise Damaged(path, "no sum of its index: an earlier version made it")
    if shard.get_tensor("index").tolist() != [_index_sum(path, keys, ends, sums, layout)]:
        raise Damaged(path, "its index is not what was written")
    return keys, ends.tolist(), sums


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    values = [tensors[name] for name in ("tokens", "pooled") if name in tensors]
    layout: list[object] = [[str(value.dtype), list(value.shape)] for value in values]
    index = _index_sum(path, tensors["keys"], tensors["ends"], tensors["sums"], layout)
    save_safetensors(path, tensors | {"index": torch.tensor([index])})


def fresh_name(folder: Path) -> Path:
    """A name that no other process chooses; names sort by time."""
    return folder / f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.safetensors"


def write_shard(path: Path, items: Mapping[bytes, Embedding]) -> None:
    """Write embeddings by key. Raises :class:`CheckpointError` when the disk is full."""
    values = list(items.values())
    keys = torch.frombuffer(bytearray(b"".join(items)), dtype=torch.uint8).reshape(-1, _KEY_BYTES)
    ends = torch.tensor([len(value.tokens) for value in values]).cumsum(0)
    tensors = {"keys": keys, "ends": ends, "tokens": torch.cat([value.tokens for value in values])}
    tensors["sums"] = torch.tensor([checksum(value) for value in values])
    if values[0].pooled is not None:
        tensors["pooled"] = torch.stack([value.pooled for value in values if value.pooled is not None])
    _save(path, tensors)


def read_index(path: Path) -> dict[bytes, Place]:
    """Where the embeddings of a shard are, by key.

    Raises:
        Damaged: it is not what was written.
        FileNotFoundError: it is gone.
    """
    with _reading(path) as shard:
        keys, ends, _ = _checked_index(path, shard)
    raw = keys.numpy().tobytes()
    return {
        raw[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]: Place(path, row, start, end)
        for row, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    }


def read_rows(path: Path, wanted: Mapping[str, Place]) -> dict[str, Embedding]:
    """The wanted embeddings.

    Raises:
        Damaged: one of them is not what was written.
        FileNotFoundError: the shard is gone.
    """
    found: dict[str, Embedding] = {}
    with _reading(path) as shard:
        tokens, sums = shard.get_slice("tokens"), shard.get_tensor("sums")
        pooled = shard.get_slice("pooled") if "pooled" in shard.keys() else None  # noqa: SIM118 (no mapping)
        for text, place in wanted.items():
            # copies: a slice would keep the whole shard mapped for as long as it is remembered
            vector = None if pooled is None else pooled[place.row].clone()
            found[text] = Embedding(tokens[place.start : place.end].clone(), vector)
            if checksum(found[text]) != int(sums[place.row]):
                raise Damaged(path, f"embedding {place.row} is not what was written")
    return found


def join_small(folder: Path) -> None:
    """One shard instead of very many small ones (each training step that meets new texts writes one).

    Raises:
        CheckpointError: it cannot be written; nothing is lost.
    """
    paths = [path for path in sorted(folder.glob("*.safetensors")) if _size(path) < _SMALL]
    small: list[tuple[Path, dict[str, Tensor]]] = []
    for path in paths if len(paths) >= _MANY else []:
        with suppress(Damaged, FileNotFoundError), _reading(path) as shard:  # damage is said when it is indexed
            _checked_index(path, shard)
            small.append((path, {name: shard.get_tensor(name) for name in shard.keys()}))  # noqa: SIM118
    if not small:
        return
    _save(fresh_name(folder), _joined([shard for _, shard in small]))
    for path, _ in small:
        path.unlink(missing_ok=True)


def _joined(shards: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    before = torch.tensor([0, *(len(shard["tokens"]) for shard in shards[:-1])]).cumsum(0)
    names = set.intersection(*(set(shard) for shard in shards)) - {"ends", "index"}
    joined = {name: torch.cat([shard[name] for shard in shards]) for name in names}
    joined["ends"] = torch.cat([shard["ends"] + n for shard, n in zip(shards, before, strict=True)])
    return joined


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process has joined it
        return _SMALL
