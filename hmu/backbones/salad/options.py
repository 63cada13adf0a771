"""The numbers of a SALAD model, as published; unknown keys and impossible values are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hmu.checkpoints.kinds import Choice, Kind, Real, Whole, check_fields
from hmu.errors import ConfigError

PREDICTION_TYPES = ("v_prediction", "epsilon", "sample")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
LOSSES = ("l1", "l1_smooth", "l2")


_ACTIVATION, _LOSS, _WEIGHT = Choice(("gelu", "silu", "relu")), Choice(LOSSES), Real(0, 1e6)
#: what each key may be; wider than any published model, narrow enough that no file asks for all memory
_VAE: dict[str, Kind] = {
    "latent_dim": Whole(1, 4096),
    "kernel_size": Whole(1, 99),
    "n_layers": Whole(2, 8),
    "n_extra_layers": Whole(0, 16),
    "norm": Choice(("none", "layer")),
    "activation": _ACTIVATION,
    "dropout": Real(0, 1),
    "recon_loss": _LOSS,
    **dict.fromkeys(("lambda_pos", "lambda_vel", "lambda_kl"), _WEIGHT),
}
_DENOISER: dict[str, Kind] = {
    "latent_dim": Whole(1, 8192),
    "n_heads": Whole(1, 256),
    "n_layers": Whole(1, 99),
    "ff_dim": Whole(1, 65_536),
    "activation": _ACTIVATION,
    "dropout": Real(0, 1),
    "max_positions": Whole(1, 100_000),
    "time_features": Whole(2, 65_536),
    "loss": _LOSS,
    "cond_drop": Real(0, 1),
}
_SCHEDULE: dict[str, Kind] = {
    "timesteps": Whole(1, 100_000),
    "beta_start": Real(0, 1, inside=True),
    "beta_end": Real(0, 1, inside=True),
    "beta_schedule": Choice(BETA_SCHEDULES),
    "prediction_type": Choice(PREDICTION_TYPES),
}


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

    latent_dim: int
    kernel_size: int
    n_layers: int
    n_extra_layers: int
    norm: str
    activation: str
    dropout: float
    recon_loss: str
    lambda_pos: float
    lambda_vel: float
    lambda_kl: float

    def __post_init__(self) -> None:
        if self.n_layers == 1:
            raise ConfigError("backbone.vae.n_layers=1: expected 2 or more (one stage leaves 12 tokens, not 7)")
        check_fields(self, "backbone.vae", _VAE)
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

    latent_dim: int
    n_heads: int
    n_layers: int
    ff_dim: int
    activation: str
    dropout: float
    max_positions: int
    time_features: int
    loss: str
    cond_drop: float

    def __post_init__(self) -> None:
        check_fields(self, "backbone.denoiser", _DENOISER)
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

    timesteps: int
    beta_start: float
    beta_end: float
    beta_schedule: str
    prediction_type: str

    def __post_init__(self) -> None:
        check_fields(self, "backbone.schedule", _SCHEDULE)


@dataclass(frozen=True)
class SamplingOptions:
    """How motions are generated.

    Attributes:
        steps: network evaluations. guidance: classifier-free scale (1 = the text alone, 0 = no text).
        scheduler: any scheduler class of ``diffusers`` with the usual ``step`` (``DDIMScheduler``,
            ``DPMSolverMultistepScheduler`` …). options: further arguments of that class.
    """

    steps: int
    guidance: float
    scheduler: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling", {"steps": Whole(1, 100_000), "guidance": Real(-1000, 1000)})
