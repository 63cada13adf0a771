"""Token ids of the clips of a data set: one batched pass, cached by data and weights."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.store import Row, Store, content_key
from hmu.data.clips import DOUBLE_SHARE, MotionClips
from hmu.devices import of_module
from hmu.methods.codebook.table import Codes, CodeTable, stack, trimmed
from hmu.methods.edit import hashed
from hmu.progress import phase

log = logging.getLogger(__name__)
Frames = NDArray[np.int64]


def encode(
    backbone: MotionBackbone,
    clips: MotionClips,
    batch_size: int = 24,
    *,
    layers: int | None = None,
    crops: int = 0,
    folder: Path | None = None,
) -> CodeTable:
    """Token ids of every clip: rows in the order of ``clips``, and of the crops within a clip.

    Args:
        backbone: has codebooks.
        batch_size: windows per forward.
        layers: only the first so many of the quantiser, which is all that most rankings look at; None = all.
        crops: 0: each clip once, whole units from its first frame on. Above: so many rows per clip, each of a random
            window as published (:func:`windows`); windows that are drawn twice are encoded once.
        folder: cache; what these weights have encoded of this data set before is read back.
    """
    times = max(1, crops)
    if folder is None:
        codes = _encode(backbone, clips, batch_size, layers, crops)
    else:
        model = weights_hash(backbone), getattr(backbone, "variant", "default")  # ``upstream`` reads padding
        facts = (clips.pack.fingerprint, clips.unit_length, clips.max_frames, *model, layers, crops)

        def make(missing: list[int]) -> list[Row]:
            log.info("codes of %d clips: %d encoded, %d read back", len(clips), len(missing), len(clips) - len(missing))
            new = _encode(backbone, clips.subset(missing), batch_size, layers, crops)
            return [{"codes": torch.from_numpy(rows)} for rows in np.split(new, len(missing))]

        rows = Store(folder).get_rows([content_key(*facts, name) for name in clips.ids], make)
        codes = trimmed(stack([row["codes"].numpy() for row in rows]))
    names, texts = (tuple(x for x in column for _ in range(times)) for column in (clips.ids, clips.texts))
    return CodeTable(names, tuple(map(str, range(times))) * len(clips), texts, codes)


def _encode(backbone: MotionBackbone, clips: MotionClips, batch_size: int, layers: int | None, crops: int) -> Codes:
    """Codes ``(clips * crops, layers, tokens)``, encoded in the order of their lengths so that little is padded."""
    units = np.minimum(clips.lengths, clips.max_frames) // clips.unit_length
    if crops:
        start, lengths = windows(clips, crops)
    else:
        start, lengths = np.zeros((len(clips), 1), np.int64), (units * clips.unit_length)[:, None]
    keys = np.stack([np.arange(len(clips)).repeat(start.shape[1]), start.ravel(), lengths.ravel()], 1)
    spans, place = np.unique(keys, axis=0, return_inverse=True)
    device = of_module(backbone)
    order = np.argsort(spans[:, 2], kind="stable")
    parts: list[Codes] = []
    with torch.no_grad(), phase("encoding clips", len(order), "windows") as done:
        for begin in range(0, len(order), batch_size):
            batch = clips.windows(*spans[order[begin : begin + batch_size]].T).to(device)
            parts.append(backbone.encode_codes(batch, layers).cpu().numpy().astype(np.int16).transpose(0, 2, 1))
            done.advance(len(batch))
    return stack(parts)[np.argsort(order)][place.ravel()]


def windows(clips: MotionClips, crops: int) -> tuple[Frames, Frames]:
    """First frames and lengths ``(clips, crops)`` of the published augmentation: whole units, with probability 1/3 one
    less, at a uniform start.

    Every clip draws from a stream of its own, named by its id, so that its windows do not depend on the selection.
    """
    seeds = [zlib.crc32(name.encode()) for name in clips.ids]
    drawn = np.stack([np.random.default_rng(seed).random((2, crops)) for seed in seeds])
    units = (np.minimum(clips.lengths, clips.max_frames) // clips.unit_length)[:, None]
    lengths = np.maximum(units - (drawn[:, 0] < DOUBLE_SHARE), 1) * clips.unit_length
    room = clips.lengths[:, None] - lengths
    return np.minimum((drawn[:, 1] * (room + 1)).astype(np.int64), room), lengths


def weights_hash(backbone: MotionBackbone) -> str:
    """SHA-256 of everything in a backbone but its text encoder: whatever may decide about codes."""
    state = sorted(backbone.state_dict().items())
    return hashed((n, value) for n, value in state if isinstance(value, Tensor) and not n.startswith("text."))
