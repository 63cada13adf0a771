"""A tiny backbone that fulfils the contract: text enters through cross attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State, Target
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from hmu.text.base import TextCondition

WIDTH, FEATURES, WORDS = 8, 3, 6
VOCABULARY = ["a", "person", "kicks", "walks", "waves", "stands", "quickly"]


class FakeAttention(nn.Module):
    """Cross attention of frames to words, with the projections' published names."""

    def __init__(self) -> None:
        super().__init__()
        self.Wq, self.Wk, self.Wv, self.Wo = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.Wq(x)[:, None], self.Wk(words)[:, None], self.Wv(words)[:, None]
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.Wo(out[:, 0])


class FakeNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(FEATURES + 1, WIDTH)
        self.word_emb = nn.Linear(WORDS, WIDTH)
        self.cross_attn = FakeAttention()
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(WIDTH, FEATURES)
        self.register_buffer("offset", torch.full((1,), 0.25))

    def forward(self, x: Tensor, time: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        t = time[:, None, None].expand(-1, x.shape[1], 1)
        h = self.inp(torch.cat([x, t], -1)) + self.offset
        h = h + self.cross_attn(h, self.word_emb(words), mask)
        return self.out(self.dropout(torch.tanh(h)))


class FakeBackbone(MotionBackbone):
    """Predicts the clean motion from ``x_t = sqrt(1 - t) x + sqrt(t) noise``."""

    name = "fake"
    features, fps = FEATURES, 20.0

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.denoiser = FakeNetwork()
            self.vae = nn.Linear(FEATURES, FEATURES)
        self.encoded: list[str] = []
        self.forwards: list[int] = []
        self._cache: dict[str, Tensor] = {}

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        words = [text.split() for text in texts]
        longest = max(2, *(len(w) + 1 for w in words)) if words else 2
        tokens = torch.zeros(len(texts), longest, WORDS)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for i, text in enumerate(texts):
            if text not in self._cache:
                self.encoded.append(text)
                keys = [VOCABULARY.index(w) + 1 for w in words[i]]
                rows = [torch.randn(WORDS, generator=torch.Generator().manual_seed(k)) for k in [0, *keys]]
                self._cache[text] = torch.stack(rows)
            rows = self._cache[text]
            tokens[i, : len(rows)], mask[i, : len(rows)] = rows, True
        return TextCondition(tokens, mask)

    def encode_target(self, batch: MotionBatch) -> Target:
        with torch.no_grad():
            valid = length_mask(batch.lengths, batch.motion.shape[1])
            return Target({"mean": self.vae(batch.motion) * valid[..., None]}, batch.lengths)

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        clean = target.tensors["mean"]
        time = torch.rand(len(target), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        t = time[:, None, None]
        valid = length_mask(target.lengths, clean.shape[1])
        inputs = ((1 - t).sqrt() * clean + t.sqrt() * noise) * valid[..., None]
        return State(inputs, time, clean, valid)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        self.forwards.append(len(condition))
        return self.denoiser(state.inputs, state.time, condition.tokens, condition.mask) * state.valid[..., None]

    def distance(self, prediction: Tensor, answer: Tensor, state: State) -> Tensor:
        error = (prediction - answer).pow(2).mean(-1) * state.valid
        return error.sum(1) / state.valid.sum(1).clamp(min=1)

    def prepare(self, mean: object, std: object, captions: Iterable[object] = ()) -> None:
        """Nothing to prepare."""

    def stage_window(self, stage: str) -> None:
        return None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        return self.denoiser.parameters()

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"loss": self.loss(self.encode_target(batch), self.encode_text(batch.texts), generator).mean()}

    def sample(self, condition, lengths, *, guidance=None, generator=None, steps=None) -> Tensor:  # type: ignore[no-untyped-def]
        return torch.randn(len(lengths), int(lengths.max()), FEATURES, generator=generator)

    def network(self) -> nn.Module:
        return self.denoiser

    @property
    def adapter_targets(self) -> list[str]:
        return [f"cross_attn.{name}" for name in ("Wq", "Wk", "Wv", "Wo")]

    def parameter_groups(self) -> dict[str, list[str]]:
        names = [name for name, _ in self.denoiser.named_parameters()]
        cross = [name for name in names if name.startswith("cross_attn.")]
        kv = [name for name in cross if ".Wk." in name or ".Wv." in name]
        return {"cross": cross, "cross_kv": kv, "rest": [n for n in names if n not in cross], "all": names}


class FakeClips:
    """Motions whose constant level is set by the verb, of different lengths."""

    def __init__(self, verbs: Sequence[str], count: int, seed: int = 0, frames: int = 6) -> None:
        generator = torch.Generator().manual_seed(seed)
        levels = {"kicks": 2.0, "walks": -1.0, "waves": 1.0, "stands": 0.0}
        self.verbs = [verbs[i % len(verbs)] for i in range(count)]
        self.lengths = torch.randint(2, frames + 1, (count,), generator=generator)
        noise = 0.1 * torch.randn(count, frames, FEATURES, generator=generator)
        level = torch.tensor([levels[v] for v in self.verbs])
        self.motion = (noise + level[:, None, None]) * length_mask(self.lengths, frames)[..., None]
        self.captions = [(Caption(f"a person {v}"), Caption(f"a person quickly {v}")) for v in self.verbs]
        self.batches: list[list[int]] = []

    def caption(self, index: int, which: int) -> Caption:
        captions = self.captions[index]
        return captions[which % len(captions)]

    def __len__(self) -> int:
        return len(self.verbs)

    def batch(self, indices: Sequence[int], caption: int = 0) -> MotionBatch:
        index = torch.as_tensor(list(indices))
        self.batches.append(index.tolist())
        longest = int(self.lengths[index].max())
        captions = tuple(self.captions[int(i)][caption] for i in index)
        ids = tuple(f"{int(i):06d}" for i in index)
        return MotionBatch(self.motion[index, :longest], self.lengths[index], captions, ids)
