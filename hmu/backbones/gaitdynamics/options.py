"""The numbers of a GaitDynamics model: their bounds are wider than any published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hmu.checks import check_fields
from hmu.errors import ConfigError


@dataclass(frozen=True)
class DecoderOptions:
    """The transformer that denoises a window.

    Attributes:
        features: columns of a state. window: frames of a training window (the rotary model runs at any length).
        latent_dim: width. ff_dim: feed-forward width. layers, heads: of the transformer. dropout: of every sub-block.
        rotary: rotary positions (published); otherwise a table of 500 absolute ones.
    """

    features: Annotated[int, ">= 1, <= 4096"]
    window: Annotated[int, ">= 1, <= 100000"]
    latent_dim: Annotated[int, ">= 1, <= 8192"]
    ff_dim: Annotated[int, ">= 1, <= 65536"]
    layers: Annotated[int, ">= 1, <= 99"]
    heads: Annotated[int, ">= 1, <= 256"]
    dropout: Annotated[float, ">= 0, <= 1"]
    rotary: bool

    def __post_init__(self) -> None:
        check_fields(self, "backbone.decoder")
        if self.latent_dim % self.heads or self.latent_dim % 2:
            raise ConfigError(
                f"backbone.decoder: latent_dim={self.latent_dim} must be even and divisible by heads={self.heads}"
            )


@dataclass(frozen=True)
class ScheduleOptions:
    """Noise schedule of training, under the authors' names, which mislead.

    Attributes:
        timesteps: number of noise levels.
        beta_schedule: ``linear`` (published) is linear in the *square root* of beta (``scaled_linear`` elsewhere);
            ``sqrt_linear`` is the plain linear one; ``sqrt`` is its square root; ``cosine`` as Nichol & Dhariwal 2021.
        beta_start, beta_end: ends of the linear ones.
        predict: what the network answers: ``sample`` (published) or ``noise``.
    """

    timesteps: Annotated[int, ">= 1, <= 100000"]
    beta_schedule: Literal["linear", "sqrt_linear", "sqrt", "cosine"]
    beta_start: Annotated[float, "> 0, < 1"]
    beta_end: Annotated[float, "> 0, < 1"]
    predict: Literal["sample", "noise"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.schedule")


@dataclass(frozen=True)
class ObjectiveOptions:
    """Weights of the training terms; the published model trains on ``simple`` alone.

    Attributes:
        loss: ``l2`` (published) or ``l1``. p2: weigh timesteps by ``(1 + snr)^-0.5`` (Choi et al. 2022).
        simple: all columns. velocity: frame differences of all columns but the root. drift: the root columns.
        fk: positions of 11 joints. slide: speed of feet that should stand.
        height: body height in metres that ``fk`` and ``slide`` assume, batches carry none.
    """

    loss: Literal["l2", "l1"]
    p2: bool
    simple: Annotated[float, ">= 0, <= 1e6"]
    velocity: Annotated[float, ">= 0, <= 1e6"]
    drift: Annotated[float, ">= 0, <= 1e6"]
    fk: Annotated[float, ">= 0, <= 1e6"]
    slide: Annotated[float, ">= 0, <= 1e6"]
    height: Annotated[float, ">= 0.5, <= 2.5"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.objective")
        if not any((self.simple, self.velocity, self.drift, self.fk, self.slide)):
            raise ConfigError("backbone.objective: one of the weights must be above 0")


@dataclass(frozen=True)
class SamplingOptions:
    """How windows are generated.

    Attributes:
        steps: network evaluations of DDIM (published 50).
        guide_from, guide_to: guidance acts at timesteps ``guide_to <= t <= guide_from``; a mean is only met exactly
            with ``guide_to`` 0.
        guide_steps: steps per timestep. guide_rate: their size in column guidance, normalised; means need none.
    """

    steps: Annotated[int, ">= 1, <= 100000"]
    guide_from: Annotated[int, ">= 0, <= 100000"]
    guide_to: Annotated[int, ">= 0, <= 100000"]
    guide_steps: Annotated[int, ">= 1, <= 10000"]
    guide_rate: Annotated[float, "> 0, < 1e6"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling")
        if self.guide_to > self.guide_from:
            raise ConfigError(
                f"backbone.sampling: guidance from timestep {self.guide_from} down to {self.guide_to} never acts; "
                "guide_from is the larger one"
            )
