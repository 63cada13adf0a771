"""A backbone small enough to read: each frame is pulled towards what a linear layer makes of the prompt's letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State, Target
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Drift(MotionBackbone):
    """Predicts the clean motion from ``sqrt(1 - t) x + sqrt(t) noise`` and the prompt."""

    name = "drift"
    stages = ("denoiser",)

    def __init__(self, features: int, fps: float, seed: int) -> None:
        super().__init__()
        self.features, self.fps = features, fps
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.denoiser = nn.Linear(features + 1 + len(LETTERS), features)

    def prepare(self, mean: object, std: object, captions: Iterable[object] = ()) -> None:
        """Nothing: it works in real units, and knows the alphabet."""

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """One token per prompt: how often it has each letter."""
        counts = torch.tensor([[float(text.count(letter)) for letter in LETTERS] for text in texts])
        return TextCondition(counts[:, None], torch.ones(len(texts), 1, dtype=torch.bool))

    def encode_target(self, batch: MotionBatch) -> Target:
        """The motion itself."""
        return Target({"motion": batch.motion}, batch.lengths)

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """A random time and noise of that size."""
        clean = target.tensors["motion"]
        time = torch.rand(len(target), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        t, valid = time[:, None, None], length_mask(target.lengths, clean.shape[1])
        return State((1 - t).sqrt() * clean + t.sqrt() * noise, time, clean, valid)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """The clean motion ``(batch, frames, features)``."""
        frames = state.inputs.shape[1]
        time = state.time[:, None, None].expand(-1, frames, 1)
        text = condition.tokens[:, :1].expand(-1, frames, -1)
        found: Tensor = self.denoiser(torch.cat([state.inputs, time, text], -1))
        return found * state.valid[..., None]

    def distance(self, prediction: Tensor, target: Tensor, state: State) -> Tensor:
        """Mean squared error over valid frames ``(batch,)``."""
        error = (prediction - target).square().mean(-1) * state.valid
        return error.sum(1) / state.valid.sum(1).clamp(min=1)

    def stage_window(self, stage: str) -> int | None:
        """Whole clips."""
        return None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """All there are."""
        return self.denoiser.parameters()

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss that methods see too."""
        return {"loss": self.loss(self.encode_target(batch), self.encode_text(batch.texts), generator).mean()}

    def sample(
        self,
        condition: TextCondition | Sequence[str],
        lengths: Tensor,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """One step from pure noise."""
        rows = condition if isinstance(condition, TextCondition) else self.encode_text(condition)
        frames = int(lengths.max())
        noise = torch.randn(len(lengths), frames, self.features, generator=generator)
        valid = length_mask(lengths, frames)
        return self.predict(State(noise, torch.ones(len(lengths)), noise, valid), rows)

    def network(self) -> nn.Module:
        """What methods edit."""
        return self.denoiser
