"""The numbers of a SALAD model: their bounds are wider than any published one, and no file can ask for all memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from hmu.checks import check_fields
from hmu.errors import ConfigError


@dataclass(frozen=True)
class VaeOptions:
    """Skeleton-aware VAE.

    Attributes:
        latent_dim: channels of a token. kernel_size: frames of the temporal convolution (odd).
        n_layers: pooling stages (frames / 2 each, joints 22 -> 12 -> 7 -> 7 …; one would leave 12 tokens, not 7).
        n_extra_layers: residual blocks per stage beyond the first.
        norm, activation, dropout: inside the residual branch.
        recon_loss, lambda_pos, lambda_vel, lambda_kl: the training objective.
    """

    latent_dim: Annotated[int, ">= 1, <= 4096"]
    kernel_size: Annotated[int, ">= 1, <= 99"]
    n_layers: Annotated[int, ">= 2, <= 8"]
    n_extra_layers: Annotated[int, ">= 0, <= 16"]
    norm: Literal["none", "layer"]
    activation: Literal["gelu", "silu", "relu"]
    dropout: Annotated[float, ">= 0, <= 1"]
    recon_loss: Literal["l1", "l1_smooth", "l2"]
    lambda_pos: Annotated[float, ">= 0, <= 1e6"]
    lambda_vel: Annotated[float, ">= 0, <= 1e6"]
    lambda_kl: Annotated[float, ">= 0, <= 1e6"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.vae")
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"backbone.vae.kernel_size={self.kernel_size}: expected an odd number")


@dataclass(frozen=True)
class DenoiserOptions:
    """Skeleton-temporal denoiser.

    Attributes:
        latent_dim: width. n_heads: attention heads. n_layers: odd number of layers. ff_dim: feed-forward width.
        activation: of the feed-forward. dropout: of every sub-block.
        max_positions: length of the table of positions (latent frames x 7).
        time_features: sinusoids of the timestep.
        loss: of the training. cond_drop: share of prompts replaced by the empty one in training.
    """

    latent_dim: Annotated[int, ">= 1, <= 8192"]
    n_heads: Annotated[int, ">= 1, <= 256"]
    n_layers: Annotated[int, ">= 1, <= 99"]
    ff_dim: Annotated[int, ">= 1, <= 65536"]
    activation: Literal["gelu", "silu", "relu"]
    dropout: Annotated[float, ">= 0, <= 1"]
    max_positions: Annotated[int, ">= 1, <= 100000"]
    time_features: Annotated[int, ">= 2, <= 65536"]
    loss: Literal["l1", "l1_smooth", "l2"]
    cond_drop: Annotated[float, ">= 0, <= 1"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.denoiser")
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
        prediction_type: what the network answers.
    """

    timesteps: Annotated[int, ">= 1, <= 100000"]
    beta_start: Annotated[float, "> 0, < 1"]
    beta_end: Annotated[float, "> 0, < 1"]
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
    prediction_type: Literal["v_prediction", "epsilon", "sample"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.schedule")


@dataclass(frozen=True)
class SamplingOptions:
    """How motions are generated.

    Attributes:
        steps: network evaluations. guidance: classifier-free scale (1 = the text alone, 0 = no text).
        scheduler: any scheduler class of ``diffusers`` with the usual ``step`` (``DDIMScheduler``,
            ``DPMSolverMultistepScheduler`` …). options: further arguments of that class.
    """

    steps: Annotated[int, ">= 1, <= 100000"]
    guidance: Annotated[float, ">= -1000, <= 1000"]
    scheduler: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling")
