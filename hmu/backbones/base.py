"""The contract every generator fulfils. Methods and metrics know backbones only through it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from hmu.backbones.trainable import Trainable
from hmu.data.batch import MotionBatch, stack_padded
from hmu.devices import of_module
from hmu.errors import ConfigError
from hmu.motion.representation import Representation, skeleton_representation
from hmu.text.base import TextCondition


@dataclass(frozen=True)
class Target:
    """What a backbone learns to generate, computed once per clip and cached (latent posterior, token ids ...).

    Attributes:
        tensors: named tensors, each ``(batch, ...)`` (SALAD: ``mean`` and ``logvar`` of the VAE posterior).
        lengths: true frames per clip ``(batch,)``.
    """

    tensors: Mapping[str, Tensor]
    lengths: Tensor

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    @classmethod
    def concat(cls, targets: Sequence[Target]) -> Target:
        """Targets one under the other; dimension 1 (time) is padded with zeros to the longest."""
        names = targets[0].tensors
        stacked = {name: stack_padded([target.tensors[name] for target in targets]) for name in names}
        return cls(stacked, torch.cat([target.lengths for target in targets]))

    def select(self, index: Tensor) -> Target:
        """The rows ``index`` (int64 ``(rows,)``); their padding stays."""
        return Target({name: value[index] for name, value in self.tensors.items()}, self.lengths[index])

    def to(self, device: torch.device | str) -> Target:
        """The same target on ``device``."""
        return Target({name: value.to(device) for name, value in self.tensors.items()}, self.lengths.to(device))


@dataclass(frozen=True)
class State:
    """A corrupted target: what the network sees, and what it should predict.

    Attributes:
        inputs: noisy latent ``(batch, frames', ...)`` or partly masked tokens ``(batch, tokens)``.
        time: diffusion timestep or mask ratio ``(batch,)``.
        target: the model's true training target in its own parametrisation (v, noise, sample, or token ids).
        valid: True where a position belongs to the clip ``(batch, frames')``.
    """

    inputs: Tensor
    time: Tensor
    target: Tensor
    valid: Tensor


class MotionBackbone(Trainable):
    """A pretrained motion generator.

    Subclasses own their training target and their conditioning layers; methods never re-derive them. Handles with a
    default are optional: capabilities follow from which of them are offered.

    Attributes:
        unlearn_group: the parameter group that methods train where no other is configured.
        features: columns of the motion :attr:`representation` (263, 251, ...).
        fps: frames per second.
        unit_length: generated lengths are multiples of this many frames.
        min_frames, max_frames: limits of a generated clip.
        reads_text: False where every prompt gives the same prediction, so that methods cannot tell concepts by prompts.
    """

    noun = "motion backbone"
    name: str = "backbone"
    unlearn_group: str = "all"
    fps: float
    unit_length: int = 4
    min_frames: int = 40
    max_frames: int = 196
    reads_text: bool = True

    @property
    def representation(self) -> Representation:
        """What the generated columns are; HumanML3D's or KIT's by their number, unless the backbone says otherwise."""
        return skeleton_representation(self.features, self.fps)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return of_module(self.network())

    # -- what comes from data -----------------------------------------------------------------------------------------
    def normalisation(self) -> tuple[Tensor, Tensor] | None:
        """Mean and std of the motions it was trained on, ``(features,)`` each; None where it keeps no such numbers.

        They are looked for as buffers ``mean`` and ``std`` of the backbone or of a part of it.
        """
        for part in self.modules():
            mean, std = getattr(part, "mean", None), getattr(part, "std", None)
            if isinstance(mean, Tensor) and isinstance(std, Tensor) and mean.shape == std.shape == (self.features,):
                return mean, std
        return None

    # -- text ---------------------------------------------------------------------------------------------------------
    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts; ``""`` is the unconditional prompt. Cached by text: a prompt is encoded once per process."""

    # -- training target ----------------------------------------------------------------------------------------------
    @abstractmethod
    def encode_target(self, batch: MotionBatch) -> Target:
        """What generation should reproduce for ``batch``: deterministic, gradient-free, worth caching."""

    @abstractmethod
    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a training state (timestep and noise, or mask) from a clean target."""

    @abstractmethod
    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """The network's prediction of ``state.target`` under ``condition``, in its shape (or logits over its ids)."""

    @abstractmethod
    def distance(self, prediction: Tensor, target: Tensor, state: State) -> Tensor:
        """Distance per item ``(batch,)`` in the model's parametrisation, padding excluded; both may carry gradient."""

    def expected(self, state: State, clips: Target) -> Tensor:
        """What a model that knows ``clips`` alone would predict for ``state``, ``(batch, ...)`` as ``state.target``.

        No gradient. The mean of the clips, each weighted by how likely it is behind the state (the ideal denoiser of a
        finite data set: Karras et al. 2022, appendix B.3). Offered by backbones that read no text, where no prompt can
        say what should come instead of a concept.
        """
        raise ConfigError(
            f"backbone {self.name}: offers no prediction from clips alone; prompts say what comes instead"
        )

    def loss(self, target: Target, condition: TextCondition, generator: torch.Generator | None = None) -> Tensor:
        """Per-item training loss ``(batch,)`` (no condition dropout): corrupt, predict, distance to the target."""
        state = self.corrupt(target, generator)
        return self.distance(self.predict(state, condition), state.target, state)

    # -- generation ---------------------------------------------------------------------------------------------------
    @abstractmethod
    def sample(
        self,
        condition: TextCondition | Sequence[str],
        lengths: Tensor,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Generate motions in real units, ``(batch, max(lengths), features)``, zero beyond each length.

        ``lengths`` in frames, multiples of :attr:`unit_length`. Guidance branches run in one batched forward.
        ``guidance`` and ``steps`` default to the configuration's. Equal generators give equal motions.
        """

    @property
    def most_steps(self) -> int | None:
        """The largest number of sampling steps: the noise levels of a diffusion model; None where any number works."""
        return None

    def check_steps(self, steps: int | None, key: str) -> None:
        """Refuse more steps than there are noise levels, before any work.

        Args:
            steps: asked for; None = the configuration's own. key: names it in the message.

        Raises:
            ConfigError: naming the key and the largest number.
        """
        own = getattr(getattr(self, "sampling", None), "steps", None)
        asked, name = (own, "backbone.sampling.steps") if steps is None else (steps, key)
        if asked is not None and self.most_steps is not None and asked > self.most_steps:
            raise ConfigError(f"{name}={asked}: {self.name} has {self.most_steps} noise levels; give at most so many")

    # -- handles ------------------------------------------------------------------------------------------------------
    @abstractmethod
    def network(self) -> nn.Module:
        """The module that unlearning edits (the denoiser, the transformers); edits are stored under its names."""

    @property
    def adapter_targets(self) -> list[str]:
        """Names (relative to :meth:`network`) of the linear layers that LoRA adapts; empty = no adapters."""
        return []

    def parameter_groups(self) -> dict[str, list[str]]:
        """Choices of trainable weights, by names in :meth:`network`: ``cross``, ``cross_kv``, ``rest``, ``all``."""
        return {"all": [name for name, _ in self.network().named_parameters()]}

    def text_projections(self) -> dict[str, nn.Linear]:
        """Linear layers through which text enters, by module name in :meth:`network`; empty = no UCE, no RECE."""
        return {}

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """What enters each layer of :meth:`text_projections` under ``condition``: ``(rows, in_features)`` by its name.

        Rows are the valid tokens of all prompts in order, begin and end markers included (``condition.mask.sum()``
        rows), or, where the network reads one vector per prompt, the prompts (``len(condition)`` rows). No gradient.
        """
        return {}

    def codebooks(self) -> dict[str, Tensor]:
        """Codebooks ``(codes, width)`` in the order of their layers, by weight name in :meth:`network`; empty = no LCR.

        Layers that share one codebook have one entry.
        """
        return {}

    def codebook_noise(self) -> dict[str, Tensor]:
        """Noise that :meth:`sample` adds to every decoded token, by weight name in :meth:`network`; empty = it cannot.

        One entry for each of :meth:`codebooks`, in the same order: a standard deviation per code ``(codes,)``, a buffer
        that is not stored with the weights and is zero in a base. An edit raises it for the codes it has replaced.
        """
        return {}

    def encode_codes(self, batch: MotionBatch, layers: int | None = None) -> Tensor:
        """Token ids of real motions, int64 ``(batch, tokens, layers)``; -1 beyond each clip's length.

        A clip has the ids that it has alone, whatever it is batched with. Only offered beside :meth:`codebooks`.
        ``layers``: only the first so many of the quantiser; None = all.
        """
        raise ConfigError(f"backbone {self.name}: its motions have no tokens; choose one with codebooks")

    # -- files --------------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, checkpoint: str | Path | None, authors: Callable[..., Self | None], **options: Any) -> Self:
        """As :meth:`Pretrained.open`; weights for other features than are configured are refused.

        Raises:
            CheckpointError, ConfigError: in one line.
        """
        model = super().open(checkpoint, authors, **options)
        model.check_features(options, checkpoint)
        return model

    def check_features(self, options: Mapping[str, Any], origin: str | Path | None) -> None:
        """Refuse weights from ``origin`` for other features than ``options`` name.

        Raises:
            ConfigError: naming both numbers.
        """
        if options.get("features", self.features) != self.features:
            raise ConfigError(
                f"backbone.features={options['features']}, but {origin} generates {self.features} columns: "
                "set features to that"
            )
