"""Toy backbones for the methods without training: one reads words, one a pooled vector, one has codebooks."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from hmu.data.batch import MotionBatch
from hmu.data.concepts import Concept
from hmu.text.base import TextCondition

from .fake import FEATURES, WIDTH, FakeBackbone, FakeClips

KICK = Concept("kick", ["kick"], anchor="a person stands")
CODES, LAYERS, UNIT = 24, 3, 2


class WordBackbone(FakeBackbone):
    """Keys and values of one cross attention read the projected words."""

    def text_projections(self) -> dict[str, nn.Linear]:
        attention = self.denoiser.cross_attn
        return {"cross_attn.Wk": attention.Wk, "cross_attn.Wv": attention.Wv}

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        rows = self.denoiser.word_emb(condition.tokens[condition.mask])
        return {"cross_attn.Wk": rows, "cross_attn.Wv": rows.clone()}


class PooledBackbone(FakeBackbone):
    """Two layers read one vector per prompt, a third reads another one."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        for name in ("first", "second", "third"):
            self.denoiser.add_module(name, nn.Linear(WIDTH, WIDTH + 1))

    def text_projections(self) -> dict[str, nn.Linear]:
        return {name: self.denoiser.get_submodule(name) for name in ("first", "second", "third")}  # type: ignore[misc]

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        words = self.denoiser.word_emb(condition.tokens) * condition.mask[..., None]
        pooled = words.sum(1)
        return {"first": pooled, "second": pooled, "third": 2 * pooled + 1}


class CodeNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        levels = torch.cat([torch.linspace(-1.5, 1.0, CODES // 2), torch.linspace(1.8, 2.2, CODES // 2)])
        for layer in range(LAYERS):
            book = torch.randn(CODES, FEATURES, generator=generator) * 0.1
            self.register_buffer(f"codebook{layer}", book if layer else levels[:, None].repeat(1, FEATURES))
            self.register_buffer(f"noise{layer}", torch.zeros(CODES), persistent=False)


class CodeBackbone(FakeBackbone):
    """Every two frames are one token: the nearest code of their mean, in every layer on what is left."""

    unit_length = UNIT

    def __init__(self, noisy: bool = True) -> None:
        super().__init__()
        self.books, self.noisy, self.encoded_batches = CodeNetwork(), noisy, 0

    def network(self) -> nn.Module:
        return self.books

    def codebooks(self) -> dict[str, Tensor]:
        return {f"codebook{layer}": self.books.get_buffer(f"codebook{layer}") for layer in range(LAYERS)}

    def codebook_noise(self) -> dict[str, Tensor]:
        names = [f"noise{layer}" for layer in range(LAYERS)] if self.noisy else []
        return {name: self.books.get_buffer(name) for name in names}

    def encode_codes(self, batch: MotionBatch, layers: int | None = None) -> Tensor:
        self.encoded_batches += 1
        frames = batch.motion.shape[1] // UNIT * UNIT
        rest = batch.motion[:, :frames].unflatten(1, (-1, UNIT)).mean(2)
        ids = []
        for book in list(self.codebooks().values())[:layers]:
            ids.append(torch.cdist(rest, book.expand(len(rest), -1, -1)).argmin(-1))
            rest = rest - book[ids[-1]]
        tokens = torch.stack(ids, -1)
        inside = torch.arange(tokens.shape[1])[None] < (batch.lengths // UNIT)[:, None]
        return torch.where(inside[..., None], tokens, -1)


class CodeClips(FakeClips):
    """Fake clips with what the cache of codes asks for."""

    unit_length, max_frames = UNIT, 6

    def __init__(self, verbs: Sequence[str], count: int, seed: int = 0, names: str = "x") -> None:
        super().__init__(verbs, count, seed)
        self.prefix, self.rows = names, list(range(count))
        self.pack = SimpleNamespace(fingerprint="data")
        self.lengths = self.lengths.numpy()  # type: ignore[assignment]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.prefix}{row:03d}" for row in self.rows)

    @property
    def clip_ids(self) -> tuple[str, ...]:
        return self.ids

    @property
    def texts(self) -> list[str]:
        return [self.caption(i, 0).text for i in range(len(self))]

    def batch(self, indices: Sequence[int], caption: int = 0) -> MotionBatch:
        rows = np.asarray(indices)
        return self.windows(rows, np.zeros_like(rows), self.lengths[rows])

    def windows(self, indices: np.ndarray, start: np.ndarray, lengths: np.ndarray) -> MotionBatch:
        motion = torch.zeros(len(indices), int(max(lengths)), FEATURES)
        for row, (i, a, n) in enumerate(zip(indices, start, lengths, strict=True)):
            motion[row, :n] = self.motion[i, a : a + n]
        captions = tuple(self.caption(int(i), 0) for i in indices)
        ids = tuple(self.ids[int(i)] for i in indices)
        return MotionBatch(motion, torch.from_numpy(np.array(lengths)), captions, ids)

    def subset(self, rows: Sequence[int]) -> CodeClips:
        picked = CodeClips(["walks"], 0, names=self.prefix)
        index = np.asarray(rows)
        picked.rows = [self.rows[i] for i in index]
        picked.verbs, picked.captions = [self.verbs[i] for i in index], [self.captions[i] for i in index]
        picked.lengths, picked.motion = self.lengths[index], self.motion[index]
        return picked
