"""What ``train.py`` asks of whatever it trains, a backbone or an evaluator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.statistics import Statistics
from hmu.checkpoints.pretrained import Pretrained
from hmu.contract import Contract
from hmu.data.batch import MotionBatch
from hmu.errors import CheckpointError, ConfigError


class Trainable(Contract, Pretrained):
    """A model that is trained in stages and stored in a folder. A class that lacks an abstract verb is refused.

    Attributes:
        stages: names of the trainable stages in training order, e.g. ``("vae", "denoiser")``.
        features: columns of a motion.
    """

    noun = "model"
    stages: tuple[str, ...] = ()
    features: int

    def known_stage(self, stage: str) -> str:
        """``stage``, if this model has it.

        Raises:
            ConfigError: naming those it has.
        """
        if stage not in self.stages:
            raise ConfigError(f"stage={stage}: {self.name} has the stages {', '.join(self.stages)}")
        return stage

    def load_parts(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """As :meth:`Pretrained.load_parts`; motion statistics that nothing can be divided by are refused too."""
        super().load_parts(tensors, source)
        own = [part.std for part in self.modules() if isinstance(part, Statistics)]
        if not all(bool((std > 0).all()) for std in own):
            raise CheckpointError(f"{source}: its motion statistics hold a std that is not above 0; copy it again")

    @abstractmethod
    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """Prepare fresh weights for a data set: its statistics, and the vocabulary of an encoder that has none yet.

        Args:
            mean, std: ``(features,)`` of the training motions.
            captions: sentences, or objects with a ``text``.
        """

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Measure what ``stage`` must know of all training clips (a scale of latents ...) before its first step.

        Every process sees the same ``batches``, so that all agree; nothing is drawn at random. Default: nothing.
        """

    def remember_prompts(self, texts: Sequence[str]) -> None:
        """Encode ``texts`` now, if the text encoder travels with the model and is frozen (others: nothing).

        A vector's last bits depend on which other texts it was encoded with. A training does this before its first
        step, so that they do not depend on which batch asked first: one that was interrupted goes on with the same.
        """

    @abstractmethod
    def stage_window(self, stage: str) -> int | None:
        """Frames of the random windows that ``stage`` trains on; None = whole clips."""

    @abstractmethod
    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Parameters that training ``stage`` updates."""

    @abstractmethod
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the published from-scratch objective of ``stage``, scalars; ``"loss"`` is the sum to minimise."""

    def clip_gradients(self, stage: str, largest: float) -> None:
        """Bound the gradient norm of each part at ``largest``; only models whose authors do so offer it."""
        raise NotImplementedError
