"""The numbers of a tokenizer and of the transformers over its tokens; impossible values are refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from hmu.backbones.options import require
from hmu.checks import check_fields


@dataclass(frozen=True)
class RvqOptions:
    """Residual vector-quantised autoencoder.

    Attributes:
        codes: entries per codebook. code_dim: their width. quantizers: layers of the residual quantiser.
        width: channels of the convolutions. depth: residual blocks per level. down: levels (frames / stride each).
        stride: of a level's convolution (2). dilation: growth rate of the blocks' dilations, largest first.
        norm: ``none``, ``LN``, ``GN`` or ``BN``. activation: inside the blocks. dropout: inside their branch.
        shared: all layers use one codebook.
        quantize_dropout: chance that a training batch uses only the first layers, their number drawn uniformly.
        decay: of the codebooks' running averages.
        temperature: of the Gumbel noise with which training picks codes; 0 = nearest.
        reset_below: a code used less often per batch than this (running average) is replaced by a batch latent. One
            batch must hold clearly more than ``codes * reset_below`` tokens.
        recon_loss, loss_vel, commit: the training objective. ``loss_vel`` is the published name of the weight of the
            joint positions (columns 4 to 66 of 263), which are counted a second time.
    """

    codes: Annotated[int, ">= 1, <= 65536"]
    code_dim: Annotated[int, ">= 1, <= 8192"]
    quantizers: Annotated[int, ">= 1, <= 64"]
    width: Annotated[int, ">= 1, <= 8192"]
    depth: Annotated[int, ">= 1, <= 12"]
    down: Annotated[int, ">= 1, <= 6"]
    stride: Annotated[int, ">= 1, <= 16"]
    dilation: Annotated[int, ">= 1, <= 10"]
    norm: Literal["none", "LN", "GN", "BN"]
    activation: Literal["relu", "silu", "gelu"]
    dropout: Annotated[float, ">= 0, <= 1"]
    shared: bool
    quantize_dropout: Annotated[float, ">= 0, <= 1"]
    decay: Annotated[float, ">= 0, <= 1"]
    temperature: Annotated[float, ">= 0, <= 1e6"]
    reset_below: Annotated[float, ">= 0, <= 1e6"]
    recon_loss: Literal["l1", "l1_smooth", "l2"]
    loss_vel: Annotated[float, ">= 0, <= 1e6"]
    commit: Annotated[float, ">= 0, <= 1e6"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.rvq")
        require(
            self.stride == 2,
            f"backbone.rvq.stride={self.stride}: expected 2 (the decoder doubles the frames at every level)",
        )

    @property
    def unit_length(self) -> int:
        """Frames per token."""
        return int(self.stride**self.down)


@dataclass(frozen=True, kw_only=True)
class TransformerOptions:
    """The masked transformer.

    Attributes:
        latent_dim: width. n_heads, n_layers, ff_size, dropout: of the post-norm encoder.
        cond_drop: share of prompts replaced by no prompt in training.
        positions: length of the table of positions.
    """

    place: ClassVar[str] = "backbone.masked"

    latent_dim: Annotated[int, ">= 1, <= 8192"]
    n_heads: Annotated[int, ">= 1, <= 256"]
    n_layers: Annotated[int, ">= 1, <= 99"]
    ff_size: Annotated[int, ">= 1, <= 65536"]
    dropout: Annotated[float, ">= 0, <= 1"]
    cond_drop: Annotated[float, ">= 0, <= 1"]
    positions: Annotated[int, ">= 1, <= 100000"]

    def __post_init__(self) -> None:
        check_fields(self, self.place)
        require(
            self.latent_dim % self.n_heads == 0 and self.latent_dim % 2 == 0,
            f"backbone: latent_dim={self.latent_dim} must be even and divisible by n_heads={self.n_heads}",
        )


@dataclass(frozen=True, kw_only=True)
class ResidualOptions(TransformerOptions):
    """The residual transformer.

    Attributes:
        share_weight: the head of layer q - 1 and the embedding of layer q are one table (published: yes).
        doubled_head: the unshared head returns ``2 W h + b``, as the authors' does; their checkpoints need it.
    """

    place: ClassVar[str] = "backbone.residual"

    share_weight: bool
    doubled_head: bool


@dataclass(frozen=True, kw_only=True)
class TokenSampling:
    """How motions are generated, as far as MoMask and BAMM agree.

    Attributes:
        guidance, residual_guidance: classifier-free scales of both transformers (1 = text alone, 0 = no text).
        temperature, residual_temperature: of the draws; 0 = the most likely code.
        residual_thres: residual codes are drawn from the ``ceil((1 - thres) * classes)`` most likely ones.
        residual_layers: how many residual layers are generated; None = all.
    """

    guidance: Annotated[float, ">= -1000, <= 1000"]
    residual_guidance: Annotated[float, ">= -1000, <= 1000"]
    temperature: Annotated[float, ">= 0, <= 1e6"]
    residual_temperature: Annotated[float, ">= 0, <= 1e6"]
    residual_thres: Annotated[float, ">= 0, <= 1"]
    residual_layers: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling")
