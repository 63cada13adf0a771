"""The numbers of a SALAD model, as published; unknown keys and impossible values are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from hmu.errors import ConfigError

T = TypeVar("T")
PREDICTION_TYPES = ("v_prediction", "epsilon", "sample")
LOSSES = ("l1", "l1_smooth", "l2")


def parse(kind: type[T], options: T | Mapping[str, Any] | None, section: str) -> T:
    """An options object from a mapping (Hydra hands over mappings).

    Raises:
        ConfigError: for a key that ``kind`` does not have.
    """
    if options is None:
        return kind()
    if isinstance(options, kind):
        return options
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    given = {str(key): value for key, value in dict(cast(Mapping[str, Any], options)).items()}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"backbone.{section}: unknown key {', '.join(unknown)}; known keys: {', '.join(known)}")
    return kind(**given)


def _choice(section: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"backbone.{section}.{key}={value}: expected one of {', '.join(allowed)}")


@dataclass(frozen=True)
class VaeOptions:
    """Skeleton-aware VAE.

    Attributes:
        latent_dim: channels of a token. kernel_size: frames of the temporal convolution (odd).
        n_layers: pooling stages (2 or more: frames / 2 each, joints 22 -> 12 -> 7 -> 7 …).
        n_extra_layers: residual blocks per stage beyond the first.
        norm: ``none`` or ``layer``. activation: ``gelu``, ``silu`` or ``relu``. dropout: inside the residual branch.
        recon_loss, lambda_pos, lambda_vel, lambda_kl: the training objective.
    """

    latent_dim: int = 32
    kernel_size: int = 3
    n_layers: int = 2
    n_extra_layers: int = 1
    norm: str = "none"
    activation: str = "gelu"
    dropout: float = 0.1
    recon_loss: str = "l1_smooth"
    lambda_pos: float = 0.5
    lambda_vel: float = 0.5
    lambda_kl: float = 0.02

    def __post_init__(self) -> None:
        _choice("vae", "norm", self.norm, ("none", "layer"))
        _choice("vae", "activation", self.activation, ("gelu", "silu", "relu"))
        _choice("vae", "recon_loss", self.recon_loss, LOSSES)
        if self.n_layers < 2:
            raise ConfigError(
                f"backbone.vae.n_layers={self.n_layers}: expected 2 or more (one stage leaves 12 tokens, not 7)"
            )
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"backbone.vae.kernel_size={self.kernel_size}: expected an odd number")


@dataclass(frozen=True)
class DenoiserOptions:
    """Skeleton-temporal denoiser.

    Attributes:
        latent_dim: width. n_heads: attention heads. n_layers: odd number of layers. ff_dim: feed-forward width.
        activation: of the feed-forward (``gelu``, ``relu`` or ``silu``). dropout: of every sub-block.
        max_positions: length of the table of positions (latent frames x 7).
        time_features: sinusoids of the timestep.
        loss: ``l2``, ``l1`` or ``l1_smooth``. cond_drop: share of prompts replaced by the empty one in training.
    """

    latent_dim: int = 256
    n_heads: int = 8
    n_layers: int = 5
    ff_dim: int = 1024
    activation: str = "gelu"
    dropout: float = 0.1
    max_positions: int = 5000
    time_features: int = 256
    loss: str = "l2"
    cond_drop: float = 0.1

    def __post_init__(self) -> None:
        _choice("denoiser", "activation", self.activation, ("gelu", "relu", "silu"))
        _choice("denoiser", "loss", self.loss, LOSSES)
        if self.n_layers % 2 == 0:
            raise ConfigError(
                f"backbone.denoiser.n_layers={self.n_layers}: expected an odd number (skips pair the layers)"
            )
        if self.latent_dim % self.n_heads:
            raise ConfigError(
                f"backbone.denoiser: latent_dim={self.latent_dim} is not divisible by n_heads={self.n_heads}"
            )


@dataclass(frozen=True)
class ScheduleOptions:
    """Noise schedule of training.

    Attributes:
        timesteps: number of noise levels. beta_start, beta_end, beta_schedule: as ``diffusers`` names them.
        prediction_type: what the network answers: ``v_prediction``, ``epsilon`` or ``sample``.
    """

    timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "v_prediction"

    def __post_init__(self) -> None:
        _choice("schedule", "prediction_type", self.prediction_type, PREDICTION_TYPES)


@dataclass(frozen=True)
class SamplingOptions:
    """How motions are generated.

    Attributes:
        steps: network evaluations. guidance: classifier-free scale (1 = the text alone, 0 = no text).
        scheduler: any scheduler class of ``diffusers`` with the usual ``step`` (``DDIMScheduler``,
            ``DPMSolverMultistepScheduler`` …). options: further arguments of that class.
    """

    steps: int = 50
    guidance: float = 7.5
    scheduler: str = "DDIMScheduler"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"backbone.sampling.steps={self.steps}: expected 1 or more")
